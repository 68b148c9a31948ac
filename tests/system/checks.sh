# shellcheck shell=bash
# The functions with which the shell tests check: they print a line for each check, and the numbers at the end.

PASSED=0
FAILED=0

# skip WHY: print why this machine cannot run the test, and exit with status 0.
skip() {
    echo "skipped: $1"
    exit 0
}

# check WHAT COMMAND...: run the command; the check has passed if the command succeeds.
check() {
    local what=$1
    shift
    if "$@"; then
        PASSED=$((PASSED + 1))
        echo "ok      $what"
    else
        FAILED=$((FAILED + 1))
        echo "FAILED  $what"
    fi
}

# is EXPECTED COMMAND...: whether a command prints exactly this text; if not, both texts are printed.
is() {
    local expected=$1 printed
    shift
    printed=$("$@") || true
    [[ $printed == "$expected" ]] || {
        printf '        expected:\n%s\n        found:\n%s\n' "$expected" "$printed" | head -20
        return 1
    }
}

# wait_until COMMAND...: wait until a command succeeds, for ten seconds at most.
wait_until() {
    local end=$((SECONDS + 10))
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

# needs PROGRAM...: skip the test if a program is missing.
needs() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || skip "$program is missing"
    done
}

# sum_up: print the numbers of passed and failed checks. Fails if a check has failed.
sum_up() {
    echo "$PASSED passed, $FAILED failed"
    ((FAILED == 0))
}
