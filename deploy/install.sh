#!/bin/sh
# Installs IBKR Bridge as a systemd service: into /opt/ibkr-bridge, with a Python environment of its own.
# Run as root from a checkout; again for an upgrade. What is there already (settings, keys, state) is kept.
# Whatever fails or is interrupted on the way, what ran before runs again.
set -eu
unset CDPATH
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
trap '' PIPE # whoever reads what this says may leave; the work goes on

USAGE="usage: deploy/install.sh [--upgrade | --uninstall] [--dry-run]
  (nothing)    install, or bring what is installed to the version of this checkout
  --upgrade    the same, but only where the bridge is installed already
  --uninstall  remove everything but the state directory, /var/lib/ibkr-bridge
  --dry-run    say what would be done, and do nothing
PYTHON=python3.12 chooses another Python; 3.11 is the oldest that will do."

source=$(cd "$(dirname "$0")/.." && pwd)
home=$(readlink -m /opt/ibkr-bridge) # without links, so that two names of one place are equal
settings=$home/.env
credentials=/etc/ibkr-bridge/credentials
state=/var/lib/ibkr-bridge
units=/etc/systemd/system
command=/usr/local/bin/ibkr-bridge
user=ibkr-bridge
python=${PYTHON:-python3}
shipped="bridge.py ibkr_bridge deploy requirements.txt .env.example LICENSE"
old_parts="bridge.py ibkr_bridge requirements.txt venv .venv" # of a set-up of earlier days
address=127.0.0.1:8000                                       # where the settings say nothing else
needed=100                                                   # MB; a release takes half of it
begun=$(date +%s)
aside=$home/before/nothing # where a set-up of earlier days was put, once there is one
dry=no
task=install

say() { printf '%s\n' "$*" 2>/dev/null || :; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}
# Everything that changes something goes through here.
run() { if [ $dry = yes ]; then say "would run: $*"; else "$@"; fi; }

# -- what has to be there

check_machine() {
    [ "$(id -u)" = 0 ] || die "run it as root: sudo deploy/install.sh"
    [ -d /run/systemd/system ] || die "systemd does not run here; see README.md for a start by hand"
    for each in ibkr-bridge.service ibkr-bridge.socket; do
        [ "$(readlink $units/$each)" != /dev/null ] || die "$each is masked; if you want it back: systemctl unmask $each"
    done
}

check_python() {
    command -v "$python" >/dev/null || die "$python is missing: apt install python3 python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "Python 3.11 or later is needed, $python is $("$python" -V); say which: PYTHON=python3.12 deploy/install.sh"
    "$python" -c 'import venv, ensurepip' 2>/dev/null || die "venv is missing: apt install python3-venv"
    "$python" -c 'import sys; sys.exit(sys.base_prefix.startswith(("/root", "/home", "/run", "/tmp", "/var/tmp")))' ||
        die "$python lies where the service may not look; choose one for the whole machine"
}

check_source() {
    [ "$source" != "$home" ] || die "this checkout lies in $home, where the bridge is to be: clone it elsewhere"
    [ ! -L /opt/ibkr-bridge ] || die "/opt/ibkr-bridge is a link; make it a directory"
}

# A full disk tells pip and venv little; so it is said here.
check_space() {
    place=$home
    while [ ! -d "$place" ]; do place=$(dirname "$place"); done
    free=$(($(df -Pk "$place" | awk 'NR == 2 { print $4 }') / 1024))
    [ "$free" -ge $needed ] || die "$needed MB are needed for a release, and $free MB are free at $place; nothing was changed"
}

# Two at once would build into the same place.
alone() {
    [ $dry = yes ] && return
    exec 9>/run/ibkr-bridge-install.lock
    flock -n 9 || die "another install.sh is at work"
}

# -- a release: the program and its environment, in a directory of its own

release_name() {
    cd "$source"
    # shellcheck disable=SC2086 # a list of names
    sum=$({
        "$python" -c 'import sys; print(sys.version, sys.base_prefix)'
        find $shipped -type f ! -path '*/__pycache__/*' -exec sha256sum {} + | sort
    } | sha256sum)
    printf '%s-%.12s' "$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' ibkr_bridge/__init__.py)" "$sum"
}

copy_program() (
    # shellcheck disable=SC2086 # a list of names
    cd "$source" && cp -R $shipped "$1" && find "$1" -name __pycache__ -prune -exec rm -rf {} +
)

build() {
    [ -e "$1/.whole" ] && return
    say "Building $1"
    run rm -rf "$1" && run mkdir -p "$1" &&
        run copy_program "$1" &&
        run chmod -R u=rwX,go=rX "$1" &&
        run "$python" -m venv "$1/.venv" &&
        run "$1/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
            -r "$1/requirements.txt" &&
        run "$1/.venv/bin/python" -m compileall -q "$1/ibkr_bridge" "$1/bridge.py" &&
        run touch "$1/.whole"
}

build_release() {
    release=$home/releases/$(release_name)
    run install -d -o root -g root -m 755 "$home" "$home/releases" # another owner could replace what root runs
    build "$release" && return
    run rm -rf "$release"
    die "the new version could not be built; nothing was changed"
}

switch_to() {
    run ln -sfn "$1" "$home/current.new"
    run mv -T "$home/current.new" "$home/current"
}

is_installed() { [ -e "$home/current" ]; }

# The release that was the last one to run.
last_good() {
    found=$(cat "$home/started" 2>/dev/null || :)
    if [ -n "$found" ] && [ -e "$found/.whole" ]; then printf '%s' "$found"; fi
}

forget_other_releases() {
    for each in "$home"/releases/*; do
        if [ -e "$each" ] && [ "$each" != "$1" ] && [ "$each" != "$2" ]; then run rm -rf "$each"; fi
    done
}

# -- whose it is, and its key

make_user() {
    getent passwd $user >/dev/null && return
    run useradd --system --user-group --no-create-home --home-dir $state --shell /usr/sbin/nologin $user
}

# As the bridge will judge them: what is wrong is told before anything is changed. Also where it will listen.
judge_settings() {
    [ -e "$settings" ] && [ $dry = no ] || return 0
    found=$(cd "$home" && PYTHONPATH=$release CREDENTIALS_DIRECTORY=$credentials STATE_DIRECTORY=$state \
        KEY_ELSEWHERE=$(has_key_elsewhere && printf yes) \
        "$release/.venv/bin/python" -B "$release/deploy/installing.py" settings) ||
        die "the settings cannot be used, see above; nothing was changed"
    address=${found% *}
    has_key=${found#* }
}

# Where the bridge will find a key, although this script does not look into it.
has_key_elsewhere() {
    [ -s $credentials.encrypted/IBKR_BRIDGE_KEY ] && return
    for each in "$units"/ibkr-bridge.service.d/*.conf; do
        [ "${each##*/}" != credential.conf ] && grep -qs '^[A-Z][A-Za-z]*=.*IBKR_BRIDGE_KEY' "$each" && return
    done
    return 1
}

new_key() { "$release/.venv/bin/python" "$release/bridge.py" genkey; }

# The key goes through a pipe: what stands in a command line, everybody can read.
write_settings() (
    umask 077
    key=$(new_key)
    printf '%s\n' "$key" | awk 'NR == FNR { key = $0; next } /^IBKR_BRIDGE_KEY=/ { print "IBKR_BRIDGE_KEY=" key; next } { print }' \
        - "$release/.env.example" >"$settings.new"
    mv "$settings.new" "$settings"
)

write_credential() (
    umask 077
    new_key >$credentials/IBKR_BRIDGE_KEY.new
    mv $credentials/IBKR_BRIDGE_KEY.new $credentials/IBKR_BRIDGE_KEY
)

make_settings() {
    if [ ! -e "$settings" ]; then
        say "Making $settings, with a new key in it"
        run write_settings
    elif [ "${has_key:-yes}" = no ]; then
        say "$settings has no key: making one in $credentials/IBKR_BRIDGE_KEY"
        run install -d -m 700 $credentials
        run write_credential
    fi
    if [ -e "$settings" ] && [ -n "$(find "$settings" -perm /077)" ]; then
        say "Others may read $settings, and the key in it: chmod 600 $settings"
    fi
}

# -- the units

# This machine itself may come in, also at an address that is not loopback; others where a drop-in of yours allows them.
write_address() {
    printf '[Socket]\nListenStream=\nListenStream=%s\nIPAddressAllow=%s\n' "$address" \
        "$(printf '%s' "${address%:*}" | tr -d '[]')" >$units/ibkr-bridge.socket.d/address.conf
}

install_address() {
    run rm -f $units/ibkr-bridge.socket.d/address.conf
    [ "$address" != 127.0.0.1:8000 ] || return 0
    run install -d $units/ibkr-bridge.socket.d
    run write_address
}

install_units() {
    for each in ibkr-bridge.service ibkr-bridge.socket; do
        run install -m 644 "$1/deploy/systemd/$each" $units/$each
    done
    if [ -s $credentials/IBKR_BRIDGE_KEY ] && [ ! -e $units/ibkr-bridge.service.d/credential.conf ]; then
        run install -D -m 644 "$1/deploy/systemd/examples/credential.conf" $units/ibkr-bridge.service.d/credential.conf
    fi
    install_address
    run systemctl daemon-reload
}

# -- a set-up of earlier days, which is put aside, and put back if ours does not start

is_ours() { grep -qs '^ExecStart=/opt/ibkr-bridge/current/' "$1"; }

# A unit that runs a bridge.py of this very directory, however it is written, or one of our name.
is_old_setup() {
    if is_ours "$1"; then return 1; fi
    [ "$1" != $units/ibkr-bridge.service ] || return 0
    grep -qsE '^ExecStart *=.*bridge\.py' "$1" &&
        grep -qsE '^(ExecStart *=.*[ "]/opt/ibkr-bridge/|ExecStart *=.*cd /opt/ibkr-bridge|WorkingDirectory *= *"?/opt/ibkr-bridge/?"? *$)' "$1"
}

check_templates() {
    for each in "$units"/*@.service; do
        if is_old_setup "$each"; then die "${each##*/} runs the bridge of earlier days; stop and disable it first"; fi
    done
}

# What is put aside stays known until the new bridge runs, also to a second run of this script.
put_aside() {
    aside=$(cat "$home/unfinished" 2>/dev/null || printf '%s' "$home/before/$(date +%Y%m%d-%H%M%S)")
    for each in "$units"/*.service; do
        if is_old_setup "$each"; then retire_unit "$each"; fi
    done
    for each in $old_parts; do
        if [ -e "$home/$each" ]; then begin_aside && run mv "$home/$each" "$aside/"; fi
    done
}

begin_aside() {
    run install -d -m 700 "$aside"
    run write_aside
}

write_aside() { printf '%s' "$aside" >"$home/unfinished"; }

retire_unit() {
    say "Retiring $1; a copy stays in $aside"
    begin_aside
    run note_unit "${1##*/}"
    run cp -a "$1" "$aside/"
    if [ -d "$1.d" ]; then run cp -a "$1.d" "$aside/"; fi
    run systemctl disable --quiet --now "${1##*/}"
    run rm -rf "$1" "$1.d"
}

note_unit() {
    grep -qs "^$1 " "$aside/units" && return
    printf '%s %s %s\n' "$1" "$(systemctl is-enabled "$1" 2>/dev/null)" "$(systemctl is-active "$1")" >>"$aside/units"
}

restore_old_setup() {
    systemctl disable --quiet --now ibkr-bridge.service ibkr-bridge.socket
    rm -rf $units/ibkr-bridge.service $units/ibkr-bridge.socket $command "$home/current" "$release"
    for each in $old_parts; do
        if [ -e "$aside/$each" ]; then mv "$aside/$each" "$home/"; fi
    done
    if [ -e "$aside/units" ]; then
        while read -r name enabled active; do restore_unit "$name" "$enabled" "$active"; done <"$aside/units"
    fi
    systemctl daemon-reload
    rm -rf "$aside" "$home/unfinished"
}

restore_unit() {
    mv "$aside/$1" $units/
    if [ -d "$aside/$1.d" ]; then mv "$aside/$1.d" $units/; fi
    systemctl daemon-reload
    if [ "$2" = enabled ]; then systemctl enable --quiet "$1"; fi
    if [ "$3" = active ]; then systemctl start "$1"; fi
}

# -- from one version to the next

ask() { "$python" -B "$source/deploy/installing.py" "$1" "$address"; }

started() {
    systemctl enable --quiet ibkr-bridge.socket ibkr-bridge.service || return 1
    # systemd opens no socket whose service runs, and none at another address while it holds this one.
    if ! ask held; then
        systemctl stop ibkr-bridge.service ibkr-bridge.socket || return 1
        ask free || return 1
    fi
    systemctl reset-failed ibkr-bridge.service ibkr-bridge.socket 2>/dev/null || :
    systemctl start ibkr-bridge.socket && systemctl restart ibkr-bridge.service && ask healthy
}

take_over() {
    good=$(last_good)
    if [ $dry = no ]; then
        trap go_back EXIT
        trap 'exit 130' INT TERM HUP
    fi
    if [ -z "$good" ]; then put_aside; fi
    switch_to "$release"
    install_units "$release"
    run install -m 755 "$release/deploy/ibkr-bridge" $command
    run started
    run write_started
    trap - EXIT INT TERM HUP
    forget_other_releases "$release" "$good"
}

write_started() {
    printf '%s\n' "$release" >"$home/started"
    rm -f "$home/unfinished"
}

# Run where take_over ends too early, for whatever reason.
go_back() {
    trap '' INT TERM HUP
    trap - EXIT
    set +e
    journalctl -u ibkr-bridge -u ibkr-bridge.socket --since "@$begun" -n 15 --no-pager -o cat >&2
    if [ -z "$good" ]; then
        restore_old_setup
        die "the bridge did not start, why stands above; what ran before runs as before"
    fi
    switch_to "$good"
    install_units "$good"
    started || die "neither the new version nor the old one starts: journalctl -u ibkr-bridge"
    if [ "$good" = "$release" ]; then die "that did not go well, why stands above; the bridge runs"; fi
    rm -rf "$release"
    die "the new version did not start, so the old one runs again; why stands above"
}

# -- the tasks

install_bridge() {
    check_source
    check_python
    check_space
    check_templates
    alone
    build_release
    judge_settings
    make_user
    make_settings
    if runs_already; then
        say "This version runs already."
        return
    fi
    take_over
    [ $dry = yes ] || tell_what_next
}

runs_already() {
    [ "$(last_good)" = "$release" ] && [ "$(readlink -e "$home/current")" = "$release" ] &&
        [ -z "$(find $credentials -newer "$home/started" -name IBKR_BRIDGE_KEY 2>/dev/null)" ] &&
        systemctl is-active --quiet ibkr-bridge.service && ask held
}

tell_what_next() {
    say "IBKR Bridge is installed. Next:
  curl http://$address/health                        it runs
  curl http://$address/gateway/auth-status           is the brokerage session open?
  systemctl status ibkr-bridge           the session's state in words
  journalctl -u ibkr-bridge -f           one line for each request and each change
No Gateway yet? ibkr-bridge sim stands in for one.
Settings are in /opt/ibkr-bridge/.env, and the key is there or in $credentials. After a change:
  systemctl restart ibkr-bridge          refuses nobody; keys and log level need a reload alone
  deploy/install.sh                      where the address was changed
To stop it: systemctl stop ibkr-bridge.socket ibkr-bridge.service"
}

uninstall() {
    alone
    run systemctl disable --quiet --now ibkr-bridge.service ibkr-bridge.socket ibkr-gateway-proxy.socket \
        ibkr-gateway-proxy.service 2>/dev/null || :
    for each in ibkr-bridge ibkr-gateway-proxy; do
        run rm -rf $units/$each.service $units/$each.socket $units/$each.service.d $units/$each.socket.d
    done
    run systemctl daemon-reload
    run rm -rf "$home" $command /etc/ibkr-bridge /run/ibkr-gateway.sock /run/ibkr-bridge-reload \
        /run/ibkr-bridge-reload.new /run/ibkr-bridge-install.lock
    if [ -d $state ]; then run chown -R root:root $state; fi # its user's number may become somebody else's
    if getent passwd $user >/dev/null; then run userdel $user; fi
    [ $dry = yes ] || say "IBKR Bridge is removed. Its state is left in $state."
}

for word in "$@"; do
    case $word in
    --dry-run) dry=yes ;;
    --upgrade) task=upgrade ;;
    --uninstall) task=uninstall ;;
    --help | -h)
        say "$USAGE"
        exit 0
        ;;
    *)
        printf '%s\n' "$USAGE" >&2
        exit 2
        ;;
    esac
done
umask 022
check_machine
case $task in
install) install_bridge ;;
upgrade)
    is_installed || die "the bridge is not installed here; run deploy/install.sh"
    install_bridge
    ;;
uninstall) uninstall ;;
esac
