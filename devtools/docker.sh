#!/usr/bin/env bash
# Docker runtime: each verb of devtools/run is a few calls of Compose.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
    printf 'error: %s\n' "$@" >&2
    exit 1
}

# Print what pip on this machine knows of package indexes, as a pip.conf for the build (devtools/packages.py). On a machine
# without Python or pip only variables are known.
pip_conf() {
    local name value found=""
    ! python3 -m devtools.packages pip-conf 2>/dev/null || return 0
    for name in index-url extra-index-url trusted-host; do
        value=PIP_$(tr a-z- A-Z_ <<<"$name")
        [[ -z ${!value:-} ]] || found+="$name = ${!value}"$'\n'
    done
    [[ -z $found ]] || printf '[global]\n%s' "$found"
}

# Print the name of the Compose project: the folder's name with a checksum of its path, so that two clones share nothing.
project() {
    local name
    name=$(basename "$PWD" | tr '[:upper:]' '[:lower:]' | tr -cd 'a-z0-9_-' | sed 's/^[_-]*//')
    echo "${name:-app}-$(pwd -P | cksum | cut -d ' ' -f 1)"
}

# Print what the environment and .env set, as Compose reads them: a line for each setting.
settings() {
    DEFAULT_PROJECT_NAME=$(project) docker compose --project-directory . --file - config <<'END'
name: ${DEFAULT_PROJECT_NAME}
services: {}
x-settings:
  PORT: ${PORT:-8000}
  METRICS_PORT: ${METRICS_PORT:-9464}
  DB_PORT: ${DB_PORT:-5432}
  TEST_DB_PORT: ${TEST_DB_PORT:-5433}
  PROMETHEUS_PORT: ${PROMETHEUS_PORT:-9090}
  GRAFANA_PORT: ${GRAFANA_PORT:-3000}
  DATABASE_URL: ${DATABASE_URL:+given}
  TEST_DATABASE_URL: ${TEST_DATABASE_URL:+given}
  REPLICA_DATABASE_URL: "${REPLICA_DATABASE_URL:-}"
  REDIS_URL: ${REDIS_URL:+given}
  TEST_REDIS_URL: ${TEST_REDIS_URL:+given}
  # <sample>
  LEDGER_GATE: ${LEDGER_GATE:-off}
  # </sample>
END
}

# Print one of these settings; of most URLs only whether it is given.
setting() {
    sed -nE "s/^ *$1: *\"?([^\"]*)\"?$/\1/p" <<<"$SETTINGS"
}

HOST_UID=$(id -u) HOST_GID=$(id -g)
if [[ $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) == *rootless* ]]; then
    # In a rootless engine the container's root is the host's user.
    HOST_UID=0 HOST_GID=0
fi
PIP_CONF=$(pip_conf)
SETTINGS=$(settings)
COMPOSE_PROJECT_NAME=$(setting name)
# Two files make one project; without this, Compose warns of the services of the other file.
COMPOSE_IGNORE_ORPHANS=true
# The package index for Poetry, whose containers have no pip.conf; empty for the default one.
POETRY_PYPI_MIRROR_URL=${POETRY_PYPI_MIRROR_URL:-$(sed -n 's/^index-url *= *//p' <<<"$PIP_CONF" | tail -1)}
export HOST_UID HOST_GID PIP_CONF POETRY_PYPI_MIRROR_URL COMPOSE_PROJECT_NAME COMPOSE_IGNORE_ORPHANS

local_compose() { docker compose --file compose.local.yml "$@"; }
test_compose() { docker compose --file compose.test.yml "$@"; }
both() { docker compose --file compose.local.yml --file compose.test.yml "$@"; }

# Bring an image up to date; show the whole output the first time, when it takes a while.
build() {
    local compose=$1 service=$2
    if [[ -n $(docker images --quiet "$COMPOSE_PROJECT_NAME-$service") ]]; then
        "$compose" build --quiet "$service"
    else
        "$compose" build "$service"
    fi
}

# Stop if a port is taken by anything but its own service.
claim_port() {
    local compose=$1 service=$2 inside=$3 name=$4 port
    port=$(setting "$name")
    if ! [[ $port =~ ^[0-9]{1,5}$ ]] || ((10#$port < 1 || 10#$port > 65535)); then
        die "$name is '$port': it must be a number from 1 to 65535"
    fi
    [[ $("$compose" port "$service" "$inside" 2>/dev/null) != *:"$port" ]] || return 0
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        die "port $port is taken: stop what uses it, or set $name: make $name=$((port + 1)) ..."
    fi
}

# Start a database and wait until it takes connections, unless the user configured another one.
start_database() {
    case $1 in
        local)
            [[ -z $(setting DATABASE_URL) ]] || return 0
            claim_port local_compose db 5432 DB_PORT
            local_compose up --detach --wait db
            [[ $(setting REPLICA_DATABASE_URL) != *@replica:* ]] || local_compose --profile replica up --detach --wait replica ;;
        test)
            [[ -z $(setting TEST_DATABASE_URL) ]] || return 0
            claim_port test_compose test-db 5432 TEST_DB_PORT
            test_compose up --detach --wait test-db ;;
    esac
}

# Start a Redis and wait until it answers, unless the user configured another one.
start_redis() {
    case $1 in
        # <sample>
        local)
            [[ $(setting LEDGER_GATE) == redis && -z $(setting REDIS_URL) ]] || return 0
            local_compose --profile redis up --detach --wait redis ;;
        # </sample>
        test)
            [[ -z $(setting TEST_REDIS_URL) ]] || return 0
            test_compose up --detach --wait test-redis ;;
    esac
}

# Run a command in a new container, with a terminal if there is one.
run() {
    local compose=$1 service=$2
    shift 2
    if [[ -t 0 && -t 1 ]]; then
        "$compose" run --rm --no-deps "$service" "$@"
    else
        "$compose" run --rm --no-deps --no-TTY "$service" "$@"
    fi
}

up() {
    claim_port local_compose app 8000 PORT
    claim_port local_compose app 9464 METRICS_PORT
    build local_compose app
    start_database local
    start_redis local
    run local_compose app python manage.py migrate --noinput
    if ! local_compose up --detach --wait --no-deps app; then
        echo "--- the end of the application's log:" >&2
        local_compose logs --no-color --no-log-prefix --tail 60 app >&2
        local_compose rm --stop --force app >/dev/null 2>&1
        die "the application did not start: the reason is above"
    fi
    ./devtools/print-urls app "$(setting PORT)" "$(setting METRICS_PORT)"
}

# Start Prometheus and Grafana beside the application. Their images come from outside, so one may be unavailable.
monitoring() {
    local port grafana
    up
    claim_port local_compose prometheus 9090 PROMETHEUS_PORT
    claim_port local_compose grafana 3000 GRAFANA_PORT
    port=$(setting PROMETHEUS_PORT) grafana=$(setting GRAFANA_PORT)
    local_compose up --detach --no-deps prometheus ||
        die "Prometheus did not start: the reason is above"
    await prometheus "$port" /-/ready
    # A running Prometheus reads its rules again.
    answers "$port" /-/reload POST || local_compose restart prometheus
    if ! local_compose up --detach --no-deps grafana; then
        ./devtools/print-urls monitoring "$port"
        die "Grafana did not start: the reason is above. Everything else runs"
    fi
    await grafana "$grafana" /api/health
    ./devtools/print-urls monitoring "$port" "$grafana"
}

# Return 0 if a port of this machine answers with 200; without curl, which may not be installed.
answers() {
    local port=$1 path=$2 method=${3:-GET} status=""
    {
        printf '%s %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n' "$method" "$path" >&3
        read -r -t 5 _ status _ <&3
    } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$port"
    [[ $status == 200 ]]
}

# Wait until a service answers.
await() {
    local service=$1 port=$2 path=$3 try
    for ((try = 0; try < 60; try++)); do
        ! answers "$port" "$path" || return 0
        sleep 0.5
    done
    local_compose logs --no-color --no-log-prefix --tail 30 "$service" >&2
    die "$service does not answer on port $port: the end of its log is above"
}

# Build the production image. Attestations would wrap it into an index, whose digest is new at each build.
image() {
    local version name
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml | head -1)
    name=$(sed -n 's/^name = "\(.*\)"$/\1/p' pyproject.toml | head -1)
    docker buildx build --load --provenance=false --sbom=false --secret id=pip_conf,env=PIP_CONF \
        --build-arg "REVISION=$2" --build-arg "VERSION=$version" \
        --label "org.opencontainers.image.title=$name" --file docker/Dockerfile --tag "$1" .
}

shell() {
    build test_compose tests
    start_database local
    start_database test
    start_redis test
    run test_compose tests bash
}

verb=${1:-}
[[ $# == 0 ]] || shift
case $verb in
    up | shell | monitoring)
        "$verb" ;;
    traffic)
        local_compose exec --no-TTY app python -m devtools.example_traffic "$@" ;;
    down)
        both --profile redis --profile monitoring --profile replica down --remove-orphans ;;
    clean)
        both --profile redis --profile monitoring --profile replica down --remove-orphans --volumes --rmi local ;;
    build)
        local_compose build app
        test_compose build tests ;;
    image)
        image "$@" ;;
    logs)
        local_compose logs --follow --tail 100 app ;;
    tool | with-poetry)
        build test_compose tests
        run test_compose tests "$@" ;;
    local)
        build local_compose app
        start_database local
        run local_compose app "$@" ;;
    test)
        build test_compose tests
        start_database test
        start_redis test
        run test_compose tests "$@" ;;
    *)
        die "usage: docker.sh up | down | build | monitoring | logs | shell | clean | image NAME COMMIT |" \
            "traffic [OPTIONS] | tool COMMAND | local COMMAND | test COMMAND | with-poetry COMMAND" ;;
esac
