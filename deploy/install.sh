#!/bin/sh
# Installs IBKR Bridge as a systemd service into /opt/ibkr-bridge, with its own Python environment.
# Run it as root from a checkout, and again for an upgrade. It keeps existing settings, keys and state.
# If it fails or is interrupted, it starts again what ran before.
# It runs as root and may be started in a directory that others can write, such as /tmp. So it leaves that directory before
# it runs any program, and Python runs isolated (-I): it imports nothing from the directory it is started in.
set -eu
unset CDPATH
case $0 in */*) beside=${0%/*} ;; *) beside=. ;; esac
source=$(cd "$beside/.." && pwd)
python=${PYTHON:-python3}
case $python in */*) python=$(cd "${python%/*}" && pwd)/${python##*/} ;; esac
cd /
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
trap '' PIPE # the reader of the output may close the pipe; the installation goes on

USAGE="usage: deploy/install.sh [--name NAME] [--upgrade | --uninstall [--purge]] [--dry-run]
  (nothing)    install the version of this checkout, or upgrade to it
  --upgrade    the same, but only if the bridge is installed already
  --uninstall  remove the program, its services and its user; the settings and the state stay
  --purge      with --uninstall: remove the settings and the keys too; the state stays
  --name live  a second bridge beside the first: service, user, command and directories are called ibkr-bridge-live
  --dry-run    print what would be done, and do nothing
PYTHON=python3.12 chooses another Python; it must be 3.11 or later."

units=/etc/systemd/system
shipped="bridge.py ibkr_bridge deploy requirements.txt .env.example LICENSE"
old_parts="bridge.py ibkr_bridge requirements.txt venv .venv" # of an earlier set-up without this script
name=ibkr-bridge                                              # the first instance; --name live: ibkr-bridge-live
address=127.0.0.1:8000                                        # unless the settings name another one
needed_mb=100                                                 # a release takes half of it
started_at=$(date +%s)
dry=no
purge=no
task=install

# Everything that an instance has is named after it, so that two never share a file, a user or a port.
name_everything() {
    home=$(readlink -m "/opt/$name") # resolved, so that it can be compared with other paths
    settings=$home/.env
    backup=$home/before/nothing # the directory of an earlier set-up that was moved away
    keys=/etc/$name
    credentials=$keys/credentials
    state=/var/lib/$name
    user=$name
    service=$name.service
    socket=$name.socket
    alerts=$name-alerts.service
    command=/usr/local/bin/$name
    completion=/usr/local/share/bash-completion/completions/$name
    lock=/run/$name-install.lock
    again="deploy/install.sh$([ "$name" = ibkr-bridge ] || printf -- ' --name %s' "${name#ibkr-bridge-}")"
}

# A user name has 32 characters at most. The other limit keeps the units of two instances apart.
check_name() {
    case $1 in
    '' | -* | *[!a-z0-9-]*) die "--name: use small letters, digits and '-', such as: --name live" ;;
    alerts | *-alerts) die "--name $1: the alerts of another instance have this name" ;;
    esac
    [ ${#1} -le 20 ] || die "--name: 20 characters at most"
}

say() { printf '%s\n' "$*" 2>/dev/null || :; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}
# Every command that changes something is run by this function.
run() { if [ $dry = yes ]; then say "would run: $*"; else "$@"; fi; }

# -- preconditions

check_machine() {
    [ "$(id -u)" = 0 ] || die "run it as root: sudo deploy/install.sh"
    [ -d /run/systemd/system ] || die "systemd does not run here; README.md says how to start the bridge by hand"
    for each in "$service" "$socket"; do
        [ "$(readlink "$units/$each")" != /dev/null ] || die "$each is masked; to use it: systemctl unmask $each"
    done
}

check_python() {
    command -v "$python" >/dev/null || die "$python is missing: apt install python3 python3-venv"
    "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "Python 3.11 or later is needed, $python is $("$python" -V); name one: PYTHON=python3.12 deploy/install.sh"
    "$python" -I -c 'import venv, ensurepip' 2>/dev/null || die "venv is missing: apt install python3-venv"
    "$python" -I -c 'import sys; sys.exit(sys.base_prefix.startswith(("/root", "/home", "/run", "/tmp", "/var/tmp")))' ||
        die "$python is in a directory that the service may not read; choose a Python of the whole machine"
}

check_source() {
    [ "$source" != "$home" ] || die "this checkout is in $home, where the bridge will be installed: clone it elsewhere"
    [ ! -L "/opt/$name" ] || die "/opt/$name is a link; make it a directory"
}

# The errors of pip and venv do not say that the disk is full, so this checks it.
check_space() {
    place=$home
    while [ ! -d "$place" ]; do place=$(dirname "$place"); done
    free=$(($(df -Pk "$place" | awk 'NR == 2 { print $4 }') / 1024))
    [ "$free" -ge $needed_mb ] || die "$needed_mb MB are needed for a release, and $free MB are free at $place; nothing was changed"
}

# Two runs at a time would build into the same directory.
take_lock() {
    [ $dry = yes ] && return
    exec 9>"$lock"
    flock -n 9 || die "another install.sh is running"
}

# -- releases: each has its own directory with the program and its environment

release_name() {
    cd "$source"
    # shellcheck disable=SC2086 # a list of names
    sum=$({
        "$python" -I -c 'import sys; print(sys.version, sys.base_prefix)'
        find $shipped -type f ! -path '*/__pycache__/*' -exec sha256sum {} + | sort
    } | sha256sum)
    printf '%s-%.12s' "$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' ibkr_bridge/__init__.py)" "$sum"
}

copy_program() (
    # shellcheck disable=SC2086 # a list of names
    cd "$source" && cp -R $shipped "$1" && find "$1" -name __pycache__ -prune -exec rm -rf {} +
)

# The units and scripts of another instance are those of the first one with its name.
name_files() {
    [ "$name" != ibkr-bridge ] || return 0
    find "$1/deploy/systemd" "$1/deploy/ibkr-bridge" -type f -exec sed -i "s/ibkr-bridge/$name/g" {} +
}

build() {
    [ -e "$1/.whole" ] && return
    say "Building $1"
    run rm -rf "$1" && run mkdir -p "$1" &&
        run copy_program "$1" &&
        run name_files "$1" &&
        run chmod -R u=rwX,go=rX "$1" &&
        run "$python" -I -m venv "$1/.venv" &&
        run "$1/.venv/bin/python" -I -m pip install --quiet --disable-pip-version-check --require-hashes \
            -r "$1/requirements.txt" &&
        run "$1/.venv/bin/python" -I -m compileall -q "$1/ibkr_bridge" "$1/bridge.py" &&
        run touch "$1/.whole"
}

build_release() {
    release=$home/releases/$(release_name)
    run install -d -o root -g root -m 755 "$home" "$home/releases" # with another owner, that user could replace what root runs
    build "$release" && return
    run rm -rf "$release"
    die "the new version could not be built; nothing was changed"
}

switch_to() {
    run ln -sfn "$1" "$home/current.new"
    run mv -T "$home/current.new" "$home/current"
}

is_installed() { [ -e "$home/current" ]; }

# The release that ran last, if it is complete.
last_release() {
    running=$(cat "$home/started" 2>/dev/null || :)
    if [ -n "$running" ] && [ -e "$running/.whole" ]; then printf '%s' "$running"; fi
}

remove_other_releases() {
    for each in "$home"/releases/*; do
        if [ -e "$each" ] && [ "$each" != "$1" ] && [ "$each" != "$2" ]; then run rm -rf "$each"; fi
    done
}

# -- user, settings and key

make_user() {
    getent passwd "$user" >/dev/null && return
    run useradd --system --user-group --no-create-home --home-dir "$state" --shell /usr/sbin/nologin "$user"
}

# Check the settings as the bridge will, before anything is changed. Also find the address and whether there is a key.
check_settings() {
    [ -e "$settings" ] && [ $dry = no ] || return 0
    result=$(cd "$home" && CREDENTIALS_DIRECTORY=$credentials STATE_DIRECTORY=$state \
        KEY_ELSEWHERE=$(has_key_elsewhere && printf yes) \
        "$release/.venv/bin/python" -I -B "$release/deploy/installing.py" settings) ||
        die "the settings cannot be used, see above; nothing was changed"
    address=${result% *}
    has_key=${result#* }
}

# Whether the bridge will get a key from a source that this script does not read.
has_key_elsewhere() {
    [ -s "$credentials.encrypted/IBKR_BRIDGE_KEY" ] && return
    for each in "$units/$service.d"/*.conf; do
        [ "${each##*/}" != credential.conf ] && grep -qs '^[A-Z][A-Za-z]*=.*IBKR_BRIDGE_KEY' "$each" && return
    done
    return 1
}

# Another instance gets the first port from 8001 on at which nobody listens.
choose_address() {
    [ "$name" != ibkr-bridge ] || return 0
    port=8001
    while [ $port -lt 8100 ] && ! check_port is-free 2>/dev/null; do
        address=127.0.0.1:$port
        port=$((port + 1))
    done
}

new_key() { "$release/.venv/bin/python" -I "$release/bridge.py" genkey; }

# The key goes through a pipe, since everybody can read command lines.
write_settings() (
    umask 077
    key=$(new_key)
    printf '%s\n' "$key" | awk -v url="http://$address" 'NR == FNR { key = $0; next }
        /^IBKR_BRIDGE_KEY=/ { print "IBKR_BRIDGE_KEY=" key; next }
        /^IBKR_BRIDGE_URL=/ { print "IBKR_BRIDGE_URL=" url; next }
        { print }' - "$release/.env.example" >"$settings.new"
    mv "$settings.new" "$settings"
)

write_credential() (
    umask 077
    new_key >"$credentials/IBKR_BRIDGE_KEY.new"
    mv "$credentials/IBKR_BRIDGE_KEY.new" "$credentials/IBKR_BRIDGE_KEY"
)

make_settings() {
    if [ ! -e "$settings" ]; then
        choose_address
        say "Making $settings with a new key"
        run write_settings
    elif [ "${has_key:-yes}" = no ]; then
        say "$settings has no key: making one in $credentials/IBKR_BRIDGE_KEY"
        run install -d -m 700 "$credentials"
        run write_credential
    fi
    if [ -e "$settings" ] && [ -n "$(find "$settings" -perm /077)" ]; then
        say "Other users can read $settings and the key in it; to prevent that: chmod 600 $settings"
    fi
}

# -- the units

# This machine may connect, also to an address that is not loopback. A drop-in can allow others.
write_address() {
    printf '[Socket]\nListenStream=\nListenStream=%s\nIPAddressAllow=%s\n' "$address" \
        "$(printf '%s' "${address%:*}" | tr -d '[]')" >"$units/$socket.d/address.conf"
}

install_address() {
    run rm -f "$units/$socket.d/address.conf"
    [ "$address" != 127.0.0.1:8000 ] || return 0
    run install -d "$units/$socket.d"
    run write_address
}

install_units() {
    for each in "$service" "$socket"; do
        run install -m 644 "$1/deploy/systemd/ibkr-bridge${each#"$name"}" "$units/$each"
    done
    if [ -e "$1/deploy/systemd/ibkr-bridge-alerts.service" ]; then
        run install -m 644 "$1/deploy/systemd/ibkr-bridge-alerts.service" "$units/$alerts"
    fi
    if [ -s "$credentials/IBKR_BRIDGE_KEY" ] && [ ! -e "$units/$service.d/credential.conf" ]; then
        run install -D -m 644 "$1/deploy/systemd/examples/credential.conf" "$units/$service.d/credential.conf"
    fi
    install_address
    run systemctl daemon-reload
}

# -- an earlier set-up without this script: it is moved away, and moved back if the new bridge does not start

is_ours() { grep -qs "^ExecStart=/opt/$name/current/" "$1"; }

# Whether a unit runs a bridge.py of this directory, or has the name of the bridge's unit.
is_old_setup() {
    if is_ours "$1"; then return 1; fi
    [ "$1" != "$units/$service" ] || return 0
    grep -qsE '^ExecStart *=.*bridge\.py' "$1" &&
        grep -qsE "^(ExecStart *=.*[ \"]/opt/$name/|ExecStart *=.*cd /opt/$name([^a-z0-9-]|\$)|WorkingDirectory *= *\"?/opt/$name/?\"? *\$)" "$1"
}

check_templates() {
    for each in "$units"/*@.service; do
        if is_old_setup "$each"; then die "${each##*/} runs a bridge that this script did not install; stop and disable it first"; fi
    done
}

# The file `unfinished` names the backup until the new bridge runs, also for a second run of this script.
move_old_setup() {
    backup=$(cat "$home/unfinished" 2>/dev/null || printf '%s' "$home/before/$(date +%Y%m%d-%H%M%S)")
    for each in "$units"/*.service; do
        if is_old_setup "$each"; then retire_unit "$each"; fi
    done
    for each in $old_parts; do
        if [ -e "$home/$each" ]; then make_backup && run mv "$home/$each" "$backup/"; fi
    done
}

make_backup() {
    run install -d -m 700 "$backup"
    run write_unfinished
}

write_unfinished() { printf '%s' "$backup" >"$home/unfinished"; }

retire_unit() {
    say "Removing $1; a copy stays in $backup"
    make_backup
    run record_unit "${1##*/}"
    run cp -a "$1" "$backup/"
    if [ -d "$1.d" ]; then run cp -a "$1.d" "$backup/"; fi
    run systemctl disable --quiet --now "${1##*/}"
    run rm -rf "$1" "$1.d"
}

record_unit() {
    grep -qs "^$1 " "$backup/units" && return
    printf '%s %s %s\n' "$1" "$(systemctl is-enabled "$1" 2>/dev/null)" "$(systemctl is-active "$1")" >>"$backup/units"
}

restore_old_setup() {
    systemctl disable --quiet --now "$service" "$socket"
    rm -f "$units/$service" "$units/$socket" "$units/$alerts" "$command" "$completion"
    rm -rf "$home/current" "$release"
    for each in $old_parts; do
        if [ -e "$backup/$each" ]; then mv "$backup/$each" "$home/"; fi
    done
    if [ -e "$backup/units" ]; then
        while read -r name enabled active; do restore_unit "$name" "$enabled" "$active"; done <"$backup/units"
    fi
    systemctl daemon-reload
    rm -rf "$backup" "$home/unfinished"
}

restore_unit() {
    mv "$backup/$1" $units/
    if [ -d "$backup/$1.d" ]; then mv "$backup/$1.d" $units/; fi
    systemctl daemon-reload
    if [ "$2" = enabled ]; then systemctl enable --quiet "$1"; fi
    if [ "$3" = active ]; then systemctl start "$1"; fi
}

# -- switching to another version

check_port() { SERVICE=$service "$python" -I -B "$source/deploy/installing.py" "$1" "$address"; }

start_units() {
    systemctl enable --quiet "$socket" "$service" || return 1
    # systemd opens no socket whose service runs, and it cannot change the address of an open one.
    if ! check_port is-held; then
        systemctl stop "$service" "$socket" || return 1
        check_port is-free || return 1
    fi
    systemctl reset-failed "$service" "$socket" 2>/dev/null || :
    systemctl start "$socket" && systemctl restart "$service" && check_port is-healthy
}

# They run if addresses are set. A problem of theirs is told, and is no reason to go back to the former version.
start_alerts() {
    if grep -qs '^IBKR_BRIDGE_ALERTS=.' "$home/.env"; then
        systemctl enable --quiet "$alerts" || :
        systemctl restart "$alerts" || say "the alerts did not start: journalctl -u $alerts"
    else
        systemctl disable --quiet --now "$alerts" 2>/dev/null || :
    fi
}

activate() {
    former_release=$(last_release)
    if [ $dry = no ]; then
        trap roll_back EXIT
        trap 'exit 130' INT TERM HUP
    fi
    if [ -z "$former_release" ]; then move_old_setup; fi
    switch_to "$release"
    install_units "$release"
    run install -m 755 "$release/deploy/ibkr-bridge" "$command"
    run write_completion || say "Completion for bash could not be written; everything else goes on."
    run start_units
    run write_started
    run start_alerts
    trap - EXIT INT TERM HUP
    remove_other_releases "$release" "$former_release"
}

write_completion() {
    mkdir -p "${completion%/*}" && "$release/.venv/bin/python" -I "$release/bridge.py" completion bash >"$completion.new" &&
        mv "$completion.new" "$completion"
}

write_started() {
    printf '%s\n' "$release" >"$home/started"
    rm -f "$home/unfinished"
}

# Runs if `activate` ends too early for any reason.
roll_back() {
    trap '' INT TERM HUP
    trap - EXIT
    set +e
    # What it says as an error first: it is the reason. Then the last lines, whatever their level.
    for level in err info; do
        journalctl -u "$service" -u "$socket" -p $level --since "@$started_at" -n 15 --no-pager -o cat >&2
    done
    if [ -z "$former_release" ]; then
        restore_old_setup
        die "the bridge did not start, see above for the reason; what ran before runs as before"
    fi
    switch_to "$former_release"
    install_units "$former_release"
    start_units || die "neither the new version nor the old one starts: journalctl -u $name"
    if [ "$former_release" = "$release" ]; then die "the installation failed, see above for the reason; the bridge runs"; fi
    rm -rf "$release"
    die "the new version did not start, so the old one runs again; see above for the reason"
}

# -- the tasks

install_bridge() {
    check_source
    check_python
    check_space
    check_templates
    take_lock
    build_release
    check_settings
    make_user
    make_settings
    if runs_already; then
        say "This version runs already."
        run start_alerts # addresses may have been set since
        return
    fi
    activate
    [ $dry = yes ] || print_next_steps
}

runs_already() {
    [ "$(last_release)" = "$release" ] && [ "$(readlink -e "$home/current")" = "$release" ] &&
        [ -z "$(find "$credentials" -newer "$home/started" -name IBKR_BRIDGE_KEY 2>/dev/null)" ] &&
        systemctl is-active --quiet "$service" && check_port is-held
}

print_next_steps() {
    say "$name is installed. Next:
  curl http://$address/health                        whether the bridge runs
  curl http://$address/gateway/auth-status           whether the brokerage session is open
  systemctl status $name           the state of the session
  journalctl -u $name -f           one line for each request and each change
Without a Gateway, run a simulated one: $name sim
The settings are in $settings, and the key is there or in $credentials. After a change:
  systemctl restart $name          no connection is refused; for keys and the log a reload is enough
  $again                      if the address was changed
To stop it: systemctl stop $socket $service"
    [ "$name" = ibkr-bridge ] ||
        say "Give it a Gateway of its own: IBKR_GATEWAY_URL in $settings. Two bridges must not share one."
}

uninstall() {
    take_lock
    run systemctl disable --quiet --now "$service" "$socket" "$alerts" 2>/dev/null || :
    if [ "$name" = ibkr-bridge ]; then # the proxy is of the first instance alone
        run systemctl disable --quiet --now ibkr-gateway-proxy.socket ibkr-gateway-proxy.service 2>/dev/null || :
    fi
    run rm -rf "$units/$service" "$units/$socket" "$units/$alerts" "$units/$socket.d/address.conf"
    run remove_program
    [ $purge = no ] || run remove_settings
    run systemctl daemon-reload
    run rm -rf "$command" "$completion" "/run/$name-reload" "/run/$name-reload.new" "$lock"
    for each in "$state" "$state".before-*; do # the second are left by: ibkr-bridge restore
        if [ -d "$each" ]; then run chown -R root:root "$each"; fi # the number of its user may be given to another user
    done
    if getent passwd "$user" >/dev/null; then run userdel "$user"; fi
    [ $dry = yes ] || print_what_stays
}

# Everything but the settings. `rmdir` removes what is empty then.
remove_program() {
    if [ -d "$home" ]; then find "$home" -mindepth 1 -maxdepth 1 ! -name .env -exec rm -rf {} +; fi
    rmdir "$home" "$credentials" "$keys" "$units/$socket.d" 2>/dev/null || :
}

# A drop-in can need the units of the Gateway's proxy, so they are settings too.
remove_settings() {
    rm -rf "$home" "$keys"
    if [ "$name" = ibkr-bridge ]; then rm -rf $units/ibkr-gateway-proxy.service $units/ibkr-gateway-proxy.socket; fi
    for each in "$service" "$socket" "$alerts"; do rm -rf "$units/$each.d"; done
}

print_what_stays() {
    say "$name is removed. What stays, for a later installation:"
    print_if_there "the settings" "$settings"
    print_if_there "the keys" "$keys"
    print_if_there "your drop-ins" "$units/$service.d" "$units/$socket.d" "$units/$alerts.d"
    if [ "$name" = ibkr-bridge ]; then
        print_if_there "your drop-ins need it" $units/ibkr-gateway-proxy.service $units/ibkr-gateway-proxy.socket
    fi
    print_if_there "the state, with the journal of orders; only rm -r removes it" "$state" "$state".before-*
    [ $purge = yes ] || say "To remove all but the state: $again --uninstall --purge"
}

print_if_there() {
    what=$1
    shift
    for each in "$@"; do
        if [ -e "$each" ]; then say "  $each: $what"; fi
    done
}

while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry=yes ;;
    --upgrade) task=upgrade ;;
    --uninstall) task=uninstall ;;
    --purge) purge=yes ;;
    --name)
        check_name "${2:-}"
        name=ibkr-bridge-$2
        shift
        ;;
    --help | -h)
        say "$USAGE"
        exit 0
        ;;
    *)
        printf '%s\n' "$USAGE" >&2
        exit 2
        ;;
    esac
    shift
done
name_everything
if [ $purge = yes ] && [ $task != uninstall ]; then
    printf -- '--purge is for --uninstall only\n%s\n' "$USAGE" >&2
    exit 2
fi
umask 022
check_machine
case $task in
install) install_bridge ;;
upgrade)
    is_installed || die "$name is not installed here; run $again"
    install_bridge
    ;;
uninstall) uninstall ;;
esac
