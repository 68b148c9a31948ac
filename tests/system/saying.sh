# shellcheck shell=bash
# How the system tests speak: a line for each thing that is so or is not, the sum in the end.

PASSED=0
FAILED=0

# skip WHY: say in a clear word that this machine cannot run the test, and end well.
skip() {
    echo "skipped: $1"
    exit 0
}

# check WHAT COMMAND...: the thing is so where the command succeeds.
check() {
    local what=$1
    shift
    if "$@"; then
        PASSED=$((PASSED + 1))
        echo "ok      $what"
    else
        FAILED=$((FAILED + 1))
        echo "NOT SO  $what"
    fi
}

# is WANTED COMMAND...: whether a command prints just that; if not, the beginning of what it does print.
is() {
    local wanted=$1 printed
    shift
    printed=$("$@") || true
    [[ $printed == "$wanted" ]] || {
        printf '        expected:\n%s\n        found:\n%s\n' "$wanted" "$printed" | head -20
        return 1
    }
}

# until_so COMMAND...: wait for something to be so, ten seconds at most.
until_so() {
    local end=$((SECONDS + 10))
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

# needs PROGRAM...: skip where one is missing.
needs() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || skip "$program is missing"
    done
}

# sum_up: the last line, and the status.
sum_up() {
    echo "$PASSED passed, $FAILED failed"
    ((FAILED == 0))
}
