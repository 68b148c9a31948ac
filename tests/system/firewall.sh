#!/usr/bin/env bash
# Which users can reach the Gateway after deploy/nftables/ibkr-gateway.nft is loaded. Processes of real users try it in
# new namespaces, so that this machine's network is not changed. Needs root; a listener is used instead of the Gateway.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
RULES=$HERE/../../deploy/nftables/ibkr-gateway.nft
# shellcheck source=tests/system/checks.sh
source "$HERE/checks.sh"

BRIDGE=64001 # users of the rule set
IBEAM=64002
OTHER_USER=64003

# main: skip the test, or continue in new namespaces; the processes in them end together with the namespaces.
main() {
    [[ $EUID == 0 ]] || skip "the test of the firewall needs root"
    needs nft ip unshare setpriv python3 timeout
    unshare --net --mount nft list ruleset >/dev/null 2>&1 || skip "this machine permits no network namespace with nftables"
    exec unshare --net --mount --pid --fork --kill-child --mount-proc "$BASH" "$HERE/firewall.sh" inside
}

inside() {
    ip link set lo up
    add_users
    add_other_machine
    listen here 5000 5001

    check_without_rules
    nft -f "$RULES"
    check_with_rules
    load_twice
    remove_rules
    sum_up
}

# add_users: the two users of the rules have names in this mount namespace only.
add_users() {
    PASSWD=$(mktemp)
    cat /etc/passwd - >"$PASSWD" <<END
ibkr-bridge:x:$BRIDGE:$BRIDGE::/:/usr/sbin/nologin
ibeam:x:$IBEAM:$IBEAM::/:/usr/sbin/nologin
END
    chmod 644 "$PASSWD"
    mount --bind "$PASSWD" /etc/passwd
    rm "$PASSWD"
}

# add_other_machine: a second network namespace with the address of the container, 10.214.50.2. This one gets the
# address of the host, 10.214.50.1.
add_other_machine() {
    unshare --net sleep 600 &
    OTHER=$!
    wait_until has_own_network
    ip link add near type veth peer name far netns "$OTHER" || skip "this kernel has no veth devices"
    ip addr add 10.214.50.1/29 dev near
    ip link set near up
    there ip addr add 10.214.50.2/29 dev far
    there ip link set far up
    there ip link set lo up
    listen there 5000
}

has_own_network() { [[ $(readlink "/proc/$OTHER/ns/net") != "$(readlink /proc/self/ns/net)" ]]; }
here() { "$@"; }
there() { nsenter --target "$OTHER" --net "$@"; }

# listen WHERE PORT...: accept connections on all addresses, IPv4 and IPv6.
listen() {
    local where=$1 port
    shift
    "$where" python3 - "$@" <<'END' &
import selectors, socket, sys

ready = selectors.DefaultSelector()
for port in sys.argv[1:]:
    ready.register(socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True), 1)
while True:
    for key, _ in ready.select():
        key.fileobj.accept()[0].close()
END
    for port in "$@"; do
        wait_until "$where" "$BASH" -c "exec 3<>/dev/tcp/127.0.0.1/$port"
    done
}

# reach UID HOST PORT: connect as this user, and print "connected", "refused", or "silence" after three seconds.
reach() {
    local status=0
    timeout 3 setpriv --reuid "$1" --regid "$1" --clear-groups "$BASH" -c "exec 3<>/dev/tcp/$2/$3" 2>/dev/null \
        || status=$?
    case $status in
    0) echo connected ;;
    124) echo silence ;;
    *) echo refused ;;
    esac
}

# reach_from_other HOST PORT: connect as root of the other machine, and print "connected" or "refused".
reach_from_other() {
    there timeout 3 "$BASH" -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null && echo connected || echo refused
}

check_without_rules() {
    check "without the rules another user reaches the Gateway" is connected reach $OTHER_USER 127.0.0.1 5000
    check "  and the Gateway in the container" is connected reach $OTHER_USER 10.214.50.2 5000
    check "  and so does another machine" is connected reach_from_other 10.214.50.1 5000
}

check_with_rules() {
    local host user
    for host in 127.0.0.1 ::1 10.214.50.1 10.214.50.2; do
        for user in 0 $BRIDGE $IBEAM; do
            check "user $user reaches $host port 5000" is connected reach "$user" $host 5000
        done
        check "another user is refused at once at $host port 5000" is refused reach $OTHER_USER $host 5000
    done
    check "another user reaches other ports" is connected reach $OTHER_USER 127.0.0.1 5001
    check "another machine is refused" is refused reach_from_other 10.214.50.1 5000
    check "  and reaches other ports" is connected reach_from_other 10.214.50.1 5001
}

load_twice() {
    local once
    once=$(nft list ruleset)
    nft -f "$RULES"
    check "loading the rules twice gives the same rules as loading them once" is "$once" nft list ruleset
}

remove_rules() {
    nft delete table inet ibkr_gateway
    check "after the removal no rule is left" is "" nft list ruleset
    check "  and another user reaches the Gateway again" is connected reach $OTHER_USER 127.0.0.1 5000
}

case ${1:-} in
inside) inside ;;
*) main ;;
esac
