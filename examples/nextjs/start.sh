#!/usr/bin/env bash
# `make example`: the demo, and the app in front of it, until Ctrl-C. PORT is the port of the app.
set -euo pipefail
cd "$(dirname "$0")"
PORT=${PORT:-3000}
PYTHON=../../.venv/bin/python
WORK=$(mktemp -d)
DEMO='' APP=''

finish() {
    trap - EXIT INT TERM
    for pid in $APP $DEMO; do kill "$pid" 2>/dev/null || true; done
    for pid in $APP $DEMO; do wait "$pid" || true; done
    rm -rf "$WORK"
}
trap finish EXIT
trap 'echo; echo "Stopping the app and the demo."; exit 0' INT TERM

fail() { # what went wrong, and the output that shows why
    echo "$1" >&2
    tail -n 20 "$2" >&2
    exit 1
}

# wait_for SECONDS PID COMMAND: wait until a command succeeds; stop if the process ends or the time is over.
wait_for() {
    local end=$((SECONDS + $1)) pid=$2
    shift 2
    until "$@"; do
        { kill -0 "$pid" 2>/dev/null && ((SECONDS < end)); } || return 1
        sleep 0.2
    done
}

listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

if listens "$PORT"; then
    echo "Port $PORT is in use; choose another one: PORT=3001 make example" >&2
    exit 1
fi
echo "1/3 starting the demo: a simulated Gateway, and the bridge on a free port ..."
IBKR_BRIDGE_URL=http://127.0.0.1:0 "$PYTHON" ../../bridge.py demo --users --write-env "$WORK/env" \
    --callback "http://localhost:$PORT/api/ibkr/connection/callback" >"$WORK/demo.log" 2>&1 &
DEMO=$!
wait_for 30 "$DEMO" test -s "$WORK/env" || fail "The demo did not start:" "$WORK/demo.log"
set -a
. "$WORK/env"
set +a

export NEXT_TELEMETRY_DISABLED=1
if [[ ! -f .next/BUILD_ID || -n $(find . -path ./.next -prune -o -newer .next/BUILD_ID -type f -print -quit) ]]; then
    echo "2/3 building the app; half a minute ..."
    node node_modules/next/dist/bin/next build >"$WORK/build.log" 2>&1 || fail "The app could not be built:" "$WORK/build.log"
else
    echo "2/3 the app is built already"
fi
echo "3/3 starting the app ..."
node node_modules/next/dist/bin/next start --hostname 127.0.0.1 --port "$PORT" >"$WORK/app.log" 2>&1 &
APP=$!
wait_for 30 "$APP" listens "$PORT" || fail "The app did not start:" "$WORK/app.log"
echo
echo "Open http://localhost:$PORT in a browser. Ctrl-C ends everything."
echo "Anna is connected; Ben connects at http://localhost:$PORT/connect, as the user ben of a simulated IBKR."
echo "Make something go wrong, in another terminal: .venv/bin/python bridge.py trigger sso-lost (then: trigger clear)"
wait -n "$DEMO" "$APP" || true
fail "The demo or the app has ended:" "$WORK/demo.log"
