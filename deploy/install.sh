#!/bin/sh
# Installs IBKR Bridge as a systemd service: into /opt/ibkr-bridge, with a Python environment of its own.
# Run as root from a checkout; again for an upgrade. What is there already (settings, keys, state) is kept.
set -eu

USAGE="usage: deploy/install.sh [--upgrade | --uninstall] [--dry-run]
  (nothing)    install, or bring what is installed to the version of this checkout
  --upgrade    the same, but only where the bridge is installed already
  --uninstall  remove everything but the state directory, /var/lib/ibkr-bridge
  --dry-run    say what would be done, and do nothing
PYTHON=python3.12 chooses another Python; 3.11 is the oldest that will do."

source=$(cd "$(dirname "$0")/.." && pwd)
home=/opt/ibkr-bridge
settings=$home/.env
credentials=/etc/ibkr-bridge/credentials
units=/etc/systemd/system
command=/usr/local/bin/ibkr-bridge
user=ibkr-bridge
python=${PYTHON:-python3}
shipped="bridge.py ibkr_bridge deploy requirements.txt .env.example LICENSE"
old_parts="bridge.py ibkr_bridge requirements.txt venv .venv" # of a set-up of earlier days
address=127.0.0.1:8000 # where .env says nothing else
needed=100 # MB; a release takes half of it
dry=no
task=install

say() { printf '%s\n' "$*"; }
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
}

check_python() {
    command -v "$python" >/dev/null || die "$python is missing: apt install python3 python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "Python 3.11 or later is needed, $python is $("$python" -V); say which: PYTHON=python3.12 deploy/install.sh"
    "$python" -c 'import venv, ensurepip' 2>/dev/null || die "venv is missing: apt install python3-venv"
}

check_source() {
    [ "$source" != $home ] || die "this checkout lies in $home, where the bridge is to be: clone it elsewhere"
    [ ! -L $home ] || die "$home is a link; make it a directory"
}

is_installed() { [ -e $home/current ]; }

# A full disk tells pip and venv little; so it is said here.
check_space() {
    place=$home
    [ -d $home ] || place=/opt
    [ -d $place ] || place=/
    free=$(($(df -Pk $place | awk 'NR == 2 { print $4 }') / 1024))
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
    sum=$({ "$python" -V; find $shipped -type f ! -path '*/__pycache__/*' -exec sha256sum {} + | sort; } | sha256sum)
    version=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' ibkr_bridge/__init__.py)
    printf '%s-%.12s' "$version" "$sum"
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

switch_to() {
    run ln -sfn "$1" $home/current.new
    run mv -T $home/current.new $home/current
}

forget_old_releases() {
    for each in "$home"/releases/*; do
        if [ -e "$each" ] && [ "$each" != "$1" ] && [ "$each" != "$2" ]; then run rm -rf "$each"; fi
    done
}

# -- whose it is, and its key

make_user() {
    getent passwd $user >/dev/null && return
    run useradd --system --user-group --no-create-home --home-dir /var/lib/ibkr-bridge --shell /usr/sbin/nologin $user
}

has_key() { grep -Eq '^IBKR_BRIDGE_KEY(_FILE)?=[^[:space:]]' "$settings"; }

# systemd would tell the journal, key and all, of a line it cannot read.
check_settings_format() {
    [ -e $settings ] || return 0
    bad=$(grep -nE '^[[:space:]]*(export[[:space:]]|[A-Za-z_]+[[:space:]]+=)' $settings | cut -d: -f1 | head -n 1 || true)
    [ -z "$bad" ] || die "$settings, line $bad: systemd cannot read it; write NAME=value, without export or spaces"
}

# As the bridge will judge them: what is wrong is told before anything is stopped. Also where it will listen.
check_settings() {
    [ $dry = no ] || return 0
    if [ -e ${credentials}.encrypted/IBKR_BRIDGE_KEY ]; then export KEY_IS_ENCRYPTED=yes; fi
    address=$(cd $home && PYTHONPATH=$1 CREDENTIALS_DIRECTORY=$credentials STATE_DIRECTORY=/var/lib/ibkr-bridge \
        "$1/.venv/bin/python" -B "$1/deploy/installing.py" address) ||
        die "the settings cannot be used, see above; nothing was changed"
}

new_key() { "$1/.venv/bin/python" "$1/bridge.py" genkey; }

# The key goes through a pipe: what stands in a command line, everybody can read.
write_settings() (
    umask 077
    key=$(new_key "$1")
    printf '%s\n' "$key" | awk 'NR == FNR { key = $0; next } /^IBKR_BRIDGE_KEY=/ { print "IBKR_BRIDGE_KEY=" key; next } { print }' \
        - "$1/.env.example" >$settings.new
    mv $settings.new $settings
)

write_credential() (
    umask 077
    new_key "$1" >$credentials/IBKR_BRIDGE_KEY.new
    mv $credentials/IBKR_BRIDGE_KEY.new $credentials/IBKR_BRIDGE_KEY
)

make_settings() {
    if [ ! -e $settings ]; then
        say "Making $settings, with a new key in it"
        run write_settings "$1"
    elif grep -q '^IBKR_BRIDGE_KEY=REPLACE_WITH_REAL_KEY' $settings; then
        die "$settings still holds the placeholder; put a key in, as this makes one: $1/.venv/bin/python $1/bridge.py genkey"
    elif ! has_key && [ ! -e $credentials/IBKR_BRIDGE_KEY ] && [ ! -e ${credentials}.encrypted/IBKR_BRIDGE_KEY ]; then
        make_credential "$1"
    fi
}

make_credential() {
    say "$settings has no key: making one in $credentials/IBKR_BRIDGE_KEY"
    run rm -f $home/started # what runs does not know it
    run install -d -m 700 $credentials
    run write_credential "$1"
    [ -e $units/ibkr-bridge.service.d/credential.conf ] ||
        run install -D -m 644 "$1/deploy/systemd/examples/credential.conf" $units/ibkr-bridge.service.d/credential.conf
}

warn_of_open_settings() {
    [ -e $settings ] && [ -n "$(find $settings -perm /077)" ] || return 0
    say "Others may read $settings, and the key in it: chmod 600 $settings"
}

# -- the units

write_address() { printf '[Socket]\nListenStream=\nListenStream=%s\n' "$1" >$units/ibkr-bridge.socket.d/address.conf; }

install_units() {
    for each in ibkr-bridge.service ibkr-bridge.socket; do
        run install -m 644 "$1/deploy/systemd/$each" $units/$each
    done
    if [ "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 254 ]; then
        run install -D -m 644 "$1/deploy/systemd/growing-pauses.conf" $units/ibkr-bridge.service.d/growing-pauses.conf
    fi
    if [ "$address" != 127.0.0.1:8000 ]; then
        run install -d $units/ibkr-bridge.socket.d
        run write_address "$address"
    else
        run rm -f $units/ibkr-bridge.socket.d/address.conf
    fi
    run systemctl daemon-reload
}

# A service of earlier days: some Python runs a bridge.py from this very directory.
is_old_setup() {
    grep -qsE '^ExecStart=[^ ]*python[0-9.]*( -[^ ]+)* /opt/ibkr-bridge/bridge\.py *$' "$1" && return
    grep -qsE '^WorkingDirectory=/opt/ibkr-bridge/?$' "$1" &&
        grep -qsE '^ExecStart=[^ ]*python[0-9.]*( -[^ ]+)* bridge\.py *$' "$1"
}

retire_old_setup() {
    if is_installed; then return; fi
    aside=$home/before/$(date +%Y%m%d-%H%M%S)
    for each in "$units"/*.service; do
        if ! is_old_setup "$each" && [ "$each" != $units/ibkr-bridge.service ]; then continue; fi
        say "Retiring $each; a copy stays in $aside"
        run install -d -m 700 "$aside"
        run systemctl disable --quiet --now "$(basename "$each")"
        run mv "$each" "$aside/"
    done
    for each in $old_parts; do
        if [ -e "$home/$each" ]; then
            run install -d -m 700 "$aside"
            run mv "$home/$each" "$aside/"
        fi
    done
}

# The first version did not start: what ran before runs again.
restore_old_setup() {
    systemctl disable --quiet --now ibkr-bridge.service ibkr-bridge.socket || true
    rm -f $units/ibkr-bridge.service $units/ibkr-bridge.socket $home/current
    if [ -d "${aside:-}" ]; then
        for each in "$aside"/*.service; do
            [ -e "$each" ] || continue
            mv "$each" $units/
            back="${back:-} $(basename "$each")"
        done
        for each in $old_parts; do
            if [ -e "$aside/$each" ]; then mv "$aside/$each" "$home/"; fi
        done
    fi
    systemctl daemon-reload
    # shellcheck disable=SC2086 # a list of names
    if [ -n "${back:-}" ]; then systemctl enable --quiet --now $back; fi
}

# -- the command line, with these settings

install_command() { run install -m 755 "$1/deploy/ibkr-bridge" $command; }

# -- alive?

tell() { "$python" -B "$source/deploy/installing.py" "$1" "$address"; }

started() {
    systemctl enable --quiet ibkr-bridge.socket ibkr-bridge.service || return 1
    # systemd opens no socket whose service runs, and none at another address while it holds this one.
    tell holds || systemctl stop ibkr-bridge.service ibkr-bridge.socket || return 1
    systemctl reset-failed ibkr-bridge.service ibkr-bridge.socket 2>/dev/null || true
    systemctl start ibkr-bridge.socket && systemctl restart ibkr-bridge.service && tell health
}

start_or_go_back() {
    if [ $dry = yes ]; then
        say "would run: systemctl enable --now ibkr-bridge.socket ibkr-bridge.service, and wait for /health"
        return
    fi
    if started; then
        printf '%s\n' "$2" >$home/started
        return
    fi
    journalctl -u ibkr-bridge -n 15 --no-pager -o cat >&2 || true
    if [ -z "$1" ]; then
        restore_old_setup
        die "the bridge did not start, and everything is as it was before; why stands above"
    fi
    [ "$1" != "$2" ] || die "the bridge did not start; why stands above: journalctl -u ibkr-bridge"
    switch_to "$1"
    install_units "$1"
    started || die "neither the new version nor the old one starts: journalctl -u ibkr-bridge"
    rm -rf "$2"
    die "the new version did not start, so the old one runs again; why stands above"
}

# -- the tasks

install_bridge() {
    check_source
    check_python
    check_space
    check_settings_format
    alone
    release=$home/releases/$(release_name)
    before=$(readlink -e $home/current || true)
    run install -d -o root -g root -m 755 $home $home/releases # whoever else owned them could replace what root runs
    if ! build "$release"; then
        run rm -rf "$release"
        die "the new version could not be built; nothing was changed"
    fi
    make_user
    make_settings "$release"
    warn_of_open_settings
    check_settings "$release"
    if runs_already "$release"; then
        say "This version runs already."
        return
    fi
    retire_old_setup
    switch_to "$release"
    install_command "$release"
    install_units "$release"
    start_or_go_back "$before" "$release"
    forget_old_releases "$release" "$before"
    [ $dry = yes ] || tell_what_next
}

runs_already() {
    [ "$(cat $home/started 2>/dev/null)" = "$1" ] && [ "$(readlink -e $home/current)" = "$1" ] &&
        systemctl is-active --quiet ibkr-bridge.service && tell holds
}

tell_what_next() {
    at=http://$address
    cat <<NEXT
IBKR Bridge is installed. Next:
  curl $at/health                        it runs
  curl $at/gateway/auth-status           is the brokerage session open?
  systemctl status ibkr-bridge           the session's state in words
  journalctl -u ibkr-bridge -f           one line for each request and each change
Settings are in $settings, and the key is there or in $credentials. After a change:
  systemctl restart ibkr-bridge          refuses nobody; keys and log level need a reload alone
  deploy/install.sh                      where the address was changed
To stop it: systemctl stop ibkr-bridge.socket ibkr-bridge.service
NEXT
}

uninstall() {
    alone
    run systemctl disable --quiet --now ibkr-bridge.service ibkr-bridge.socket ibkr-gateway-proxy.socket \
        ibkr-gateway-proxy.service 2>/dev/null || true
    run rm -rf $units/ibkr-bridge.service $units/ibkr-bridge.socket $units/ibkr-bridge.service.d \
        $units/ibkr-bridge.socket.d $units/ibkr-gateway-proxy.socket $units/ibkr-gateway-proxy.service
    run systemctl daemon-reload
    run rm -rf $home $command /etc/ibkr-bridge /run/ibkr-bridge-reload /run/ibkr-bridge-install.lock
    if getent passwd $user >/dev/null; then run userdel $user; fi
    [ $dry = yes ] || say "IBKR Bridge is removed. Its state is left in /var/lib/ibkr-bridge."
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
