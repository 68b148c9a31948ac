#!/usr/bin/env bash
# Who reaches the Gateway once deploy/nftables/ibkr-gateway.nft is loaded: tried by real users in namespaces of their
# own, so that nothing of this machine's network is touched. Needs root; a listener stands in for the Gateway.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
RULES=$HERE/../../deploy/nftables/ibkr-gateway.nft
# shellcheck source=tests/system/saying.sh
source "$HERE/saying.sh"

BRIDGE=64001 # users of the rule set
IBEAM=64002
STRANGER=64003

# main: skip, or go on in namespaces of our own; what runs in them ends with them.
main() {
    [[ $EUID == 0 ]] || skip "the firewall's test needs root"
    needs nft ip unshare setpriv python3 timeout
    unshare --net --mount nft list ruleset >/dev/null 2>&1 || skip "this kernel lends no network namespace with nftables"
    exec unshare --net --mount --pid --fork --kill-child --mount-proc "$BASH" "$HERE/firewall.sh" inside
}

inside() {
    ip link set lo up
    two_users
    another_machine
    listen here 5000 5001

    without_rules
    nft -f "$RULES"
    with_rules
    loaded_twice
    removed
    sum_up
}

# two_users: known by name in this mount namespace alone.
two_users() {
    PASSWD=$(mktemp)
    cat /etc/passwd - >"$PASSWD" <<END
ibkr-bridge:x:$BRIDGE:$BRIDGE::/:/usr/sbin/nologin
ibeam:x:$IBEAM:$IBEAM::/:/usr/sbin/nologin
END
    chmod 644 "$PASSWD"
    mount --bind "$PASSWD" /etc/passwd
    rm "$PASSWD"
}

# another_machine: one with the container's address, 10.214.50.2; this one gets the host's, 10.214.50.1.
another_machine() {
    unshare --net sleep 600 &
    OTHER=$!
    until_so apart
    ip link add near type veth peer name far netns "$OTHER" || skip "this kernel has no veth devices"
    ip addr add 10.214.50.1/29 dev near
    ip link set near up
    there ip addr add 10.214.50.2/29 dev far
    there ip link set far up
    there ip link set lo up
    listen there 5000
}

apart() { [[ $(readlink "/proc/$OTHER/ns/net") != "$(readlink /proc/self/ns/net)" ]]; }
here() { "$@"; }
there() { nsenter --target "$OTHER" --net "$@"; }

# listen WHERE PORT...: take connections on every address, IPv4 and IPv6.
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
        until_so "$where" "$BASH" -c "exec 3<>/dev/tcp/127.0.0.1/$port"
    done
}

# reach UID HOST PORT: say what a user's connection comes to: "connected", "refused" at once, or "silence".
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

# reach_from_there HOST PORT: the same from the other machine, as its root.
reach_from_there() {
    there timeout 3 "$BASH" -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null && echo connected || echo refused
}

without_rules() {
    check "without the rules a stranger reaches the Gateway" is connected reach $STRANGER 127.0.0.1 5000
    check "  and its container" is connected reach $STRANGER 10.214.50.2 5000
    check "  and another machine does" is connected reach_from_there 10.214.50.1 5000
}

with_rules() {
    local host who
    for host in 127.0.0.1 ::1 10.214.50.1 10.214.50.2; do
        for who in 0 $BRIDGE $IBEAM; do
            check "user $who reaches $host port 5000" is connected reach "$who" $host 5000
        done
        check "a stranger is refused at once at $host port 5000" is refused reach $STRANGER $host 5000
    done
    check "a stranger reaches other ports" is connected reach $STRANGER 127.0.0.1 5001
    check "another machine is refused" is refused reach_from_there 10.214.50.1 5000
    check "  and reaches other ports" is connected reach_from_there 10.214.50.1 5001
}

loaded_twice() {
    local once
    once=$(nft list ruleset)
    nft -f "$RULES"
    check "loading it twice is loading it once" is "$once" nft list ruleset
}

removed() {
    nft delete table inet ibkr_gateway
    check "removed, it leaves nothing" is "" nft list ruleset
    check "  and a stranger reaches the Gateway again" is connected reach $STRANGER 127.0.0.1 5000
}

case ${1:-} in
inside) inside ;;
*) main ;;
esac
