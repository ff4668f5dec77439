# shellcheck shell=bash
# The native runtime: .venv from the lock file, embedded PostgreSQL, gunicorn in the background. Sourced by scripts/run.

STATE=.local
PID_FILE=$STATE/gunicorn.pid
LOG_FILE=$STATE/gunicorn.log
POETRY=("poetry==2.5.1" "poetry-plugin-export==1.10.1")

find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3; do
        # By running it: pyenv leaves shims for versions that are not active.
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python 3.11 or newer was found. Install one, or a Docker engine." >&2
    return 1
}

run_build() {
    local python stamp
    stamp=$(sha256sum poetry.lock pyproject.toml scripts/native.sh | sha256sum)
    [[ -f .venv/stamp && $(<.venv/stamp) == "$stamp" ]] || {
        python=$(find_python)
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$python has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2
            return 1
        fi
        mkdir -p $STATE
        echo "Installing the dependencies with $("$python" --version) (about a minute, once per lock file) ..." >&2
        rm -rf .venv
        "$python" -m venv $STATE/poetry
        $STATE/poetry/bin/pip install --quiet --disable-pip-version-check "${POETRY[@]}"
        $STATE/poetry/bin/poetry export --quiet --with dev --output $STATE/requirements.txt
        "$python" -m venv .venv
        .venv/bin/pip install --disable-pip-version-check --progress-bar off --require-hashes \
            --requirement $STATE/requirements.txt | grep --line-buffered -E '^(Collecting|Installing|Successfully)' >&2
        echo "$stamp" >.venv/stamp
    }
    PATH=$PWD/.venv/bin:$PATH
    export VIRTUAL_ENV=$PWD/.venv
}

# Start the embedded server of a cluster unless the user has a server of their own.
serve() {
    local cluster=$1 own=$2
    [[ -n ${!own:-} ]] || python -m config.embedded_postgres start "$cluster" >&2
}

run_local() {
    run_build
    serve local DATABASE_URL
    exec "$@"
}

run_test() {
    run_build
    serve test TEST_DATABASE_URL
    DJANGO_SETTINGS_MODULE=config.settings.test exec "$@"
}

run_tool() {
    run_build
    DJANGO_SETTINGS_MODULE=config.settings.test exec "$@"
}

app_runs() {
    local pid
    pid=$(cat $PID_FILE 2>/dev/null) && [[ -n $pid ]] || return 1
    # The number alone proves nothing after a crash or a reboot.
    [[ $(readlink "/proc/$pid/cwd" 2>/dev/null) == "$PWD" ]]
}

run_up() {
    run_build
    serve local DATABASE_URL
    python manage.py migrate --verbosity 0
    if app_runs; then
        echo "The API is running already."
    else
        if ! python - "$PORT" <<'END'; then
import socket, sys
with socket.socket() as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("0.0.0.0", int(sys.argv[1])))
    except (OSError, ValueError, OverflowError):
        sys.exit(1)
END
            echo "Port $PORT is taken. Choose another: PORT=8001 make up" >&2
            exit 1
        fi
        mkdir -p $STATE
        DJANGO_SETTINGS_MODULE=${DJANGO_SETTINGS_MODULE:-config.settings.local} nohup setsid gunicorn \
            --config docker/gunicorn.conf.py --reload --pid $PID_FILE config.wsgi:application >$LOG_FILE 2>&1 </dev/null &
        local child=$!
        alive() { kill -0 "$child" 2>/dev/null || app_runs; }
        if ! wait_for_ping python "http://127.0.0.1:$PORT/ping/" alive; then
            echo "The API did not start. The end of $LOG_FILE:" >&2
            tail -20 $LOG_FILE >&2
            exit 1
        fi
    fi
    say_up
}

stop_app() {
    if app_runs; then
        local pid
        pid=$(<$PID_FILE)
        kill -TERM "$pid"
        for _ in $(seq 70); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.5
        done
    fi
    rm -f $PID_FILE
}

run_down() {
    stop_app
    local python
    python=$(find_python)
    # The clusters need no package to be stopped.
    "$python" -m config.embedded_postgres stop local
    "$python" -m config.embedded_postgres stop test
}

run_logs() {
    if [[ ! -f $LOG_FILE ]]; then
        echo "There is no log yet: make up" >&2
        exit 1
    fi
    exec tail -n 100 -F $LOG_FILE
}

run_shell() {
    run_build
    serve local DATABASE_URL
    serve test TEST_DATABASE_URL
    echo "py.test --reuse-db -s tests/... runs one test; exit leaves." >&2
    exec bash
}

run_clean() {
    run_down
    local python
    python=$(find_python)
    "$python" -m config.embedded_postgres remove local
    "$python" -m config.embedded_postgres remove test
    rm -rf .venv $STATE staticfiles
}
