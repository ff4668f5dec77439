# shellcheck shell=bash
# The Docker runtime: thin wrappers round Compose. Sourced by scripts/run.

HOST_UID=$(id -u) HOST_GID=$(id -g)
# The folder's name, as Compose makes it, with the path's digest: two clones never share a container or a volume.
name=$(basename "$PWD" | tr '[:upper:]' '[:lower:]' | tr -cd 'a-z0-9_-' | sed 's/^[_-]*//')
COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-${name:-bank}-$(pwd | sha256sum | cut -c1-8)}
export HOST_UID HOST_GID COMPOSE_PROJECT_NAME

compose() { docker compose --file compose.local.yml "$@"; }
compose_test() { docker compose --file compose.test.yml "$@"; }

# Attach a terminal only where there is one: CI has none.
terminal=()
[[ -t 0 && -t 1 ]] || terminal=(--no-TTY)

need_free_port() {
    local port=$1 variable=$2
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "Port $port is taken. Choose another: $variable=$((port + 10)) make ..." >&2
        exit 1
    fi
}

is_running() { [[ -n $("$1" ps --quiet --status running "$2" 2>/dev/null) ]]; }

run_build() {
    compose build app
    compose_test build tests
}

run_up() {
    is_running compose app || need_free_port "$PORT" PORT
    [[ -n ${DATABASE_URL:-} ]] || is_running compose db || need_free_port "${DB_PORT:-5432}" DB_PORT
    compose up --detach --build app
    compose run --rm --no-deps --no-TTY app python manage.py migrate --verbosity 0
    alive() { is_running compose app; }
    # The image's Python probes: the host needs none.
    ping() { compose exec --no-TTY app python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/ping/', timeout=3)"; }
    for _ in $(seq 60); do
        if ping 2>/dev/null; then
            say_up
            return
        fi
        alive || break
        sleep 1
    done
    echo "The API did not start. The end of its log:" >&2
    compose logs --tail 20 app >&2
    exit 1
}

run_down() {
    compose down --remove-orphans
    compose_test down --remove-orphans
}

run_clean() {
    compose down --remove-orphans --volumes --rmi local
    compose_test down --remove-orphans --volumes --rmi local
    rm -rf staticfiles
}

run_logs() { compose logs --follow --tail 100 app; }

run_local() {
    [[ -n ${DATABASE_URL:-} ]] || is_running compose db || need_free_port "${DB_PORT:-5432}" DB_PORT
    compose run --rm "${terminal[@]}" app "$@"
}

run_test() {
    [[ -n ${TEST_DATABASE_URL:-} ]] || is_running compose_test db || need_free_port "${TEST_DB_PORT:-5433}" TEST_DB_PORT
    compose_test run --rm --build "${terminal[@]}" tests "$@"
}

run_tool() { compose_test run --rm --build --no-deps "${terminal[@]}" tests "$@"; }

run_shell() {
    echo "py.test --reuse-db -s tests/... runs one test; exit leaves." >&2
    run_test bash
}
