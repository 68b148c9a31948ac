#!/usr/bin/env bash
# The container files, tried without an engine: the compose file is read by docker-compose, the image is built by buildah
# and run in a network namespace of its own, in front of the simulated Gateway. Needs root, and two gigabytes for a
# moment. The base image is made from Debian's packages once and kept in the cache directory.
set -euo pipefail
export LC_ALL=C # what is sorted here and in the image is sorted alike
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
# shellcheck source=tests/system/saying.sh
source "$HERE/saying.sh"

PYTHON=$ROOT/.venv/bin/python
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ibkr-bridge
BASE=$(sed -n "s/^ARG BASE=//p" "$ROOT/deploy/Dockerfile") # here Debian's own Python answers to that name
MIRROR=${DEBIAN_MIRROR:-} # empty: the one debootstrap takes by itself
USER_ID=10001
KEY=key-of-the-container-test-0123456789

main() {
    [[ $EUID == 0 ]] || skip "the containers' test needs root"
    [[ -x $PYTHON ]] || skip "there is no environment yet: make setup"
    WORK=$(mktemp -d)
    trap clean_up EXIT
    compose_files
    image
    sum_up
}

clean_up() {
    [[ -z ${CONTAINER:-} ]] || buildah rm "$CONTAINER" >/dev/null || true
    rm -rf "$WORK"
}

# compose_files: as docker-compose understands both profiles, and as a whole YAML reader reads them.
compose_files() {
    read_alike
    command -v docker-compose >/dev/null || {
        echo "skipped: docker-compose is missing, so the compose file is read by nobody (apt install docker-compose)"
        return
    }
    local profile
    for profile in host contained; do
        check "docker-compose takes the profile $profile" \
            docker-compose -f "$ROOT/deploy/ibeam-compose.yml" --profile "$profile" config --quiet
    done
}

# read_alike: the small reader behind `make test` and a real one find the same in them.
read_alike() {
    python3 -c 'import yaml' 2>/dev/null || {
        echo "skipped: no YAML library to hold the small reader against (apt install python3-yaml)"
        return
    }
    local file
    for file in deploy/ibeam-compose.yml deploy/inputs/conf.yaml; do
        check "two readers find the same in $file" is "$(python3 -c "$WHOLE" "$ROOT/$file")" small_reader "$file"
    done
}
WHOLE='
import json, sys, yaml

def merged(found):
    if isinstance(found, list):
        return [merged(each) for each in found]
    if isinstance(found, dict):
        found = {**found.pop("<<", {}), **found}
        return {name: merged(each) for name, each in found.items()}
    return found

print(json.dumps(merged(yaml.load(open(sys.argv[1]), yaml.BaseLoader)), sort_keys=True))
'

small_reader() {
    (cd "$ROOT" && "$PYTHON" -c 'import json, pathlib, sys
from tests.deploy.plain import read_plain
print(json.dumps(read_plain(pathlib.Path(sys.argv[1])), sort_keys=True))' "$1")
}

# image: build it, look at it, run it.
image() {
    local program
    for program in buildah debootstrap unshare curl; do
        command -v "$program" >/dev/null || {
            echo "skipped: $program is missing, so no image is built (apt install buildah debootstrap)"
            return
        }
    done
    storage
    base_image || {
        echo "skipped: the base image could not be made; $CACHE/debootstrap.log says why"
        return
    }
    built
    unshare --net --mount --pid --fork --kill-child --mount-proc \
        "$BASH" "$HERE/containers.sh" inside "$WORK" "$CONTAINER" | tee "$WORK/told"
    PASSED=$((PASSED + $(grep -c '^ok ' "$WORK/told" || true)))
    FAILED=$((FAILED + $(grep -c '^NOT SO ' "$WORK/told" || true)))
}

# storage: images of this test alone, in a place of their own.
storage() {
    mkdir -p "$CACHE"
    export CONTAINERS_STORAGE_CONF=$WORK/storage.conf
    printf '[storage]\ndriver = "vfs"\nrunroot = "%s"\ngraphroot = "%s"\n' "$WORK/run" "$WORK/images" \
        >"$CONTAINERS_STORAGE_CONF"
}

# base_image: Debian with its Python, under the name the Dockerfile asks for.
base_image() {
    local saved=$CACHE/base-bookworm.tar
    if [[ ! -f $saved ]]; then
        debootstrap --variant=minbase --include=python3,python3-venv bookworm "$WORK/root" ${MIRROR:+"$MIRROR"} \
            >"$CACHE/debootstrap.log" 2>&1 || return 1
        tar -C "$WORK/root" --exclude=./var/cache/apt --exclude=./dev -cf "$saved.new" .
        mv "$saved.new" "$saved"
        rm -rf "$WORK/root"
    fi
    mkdir "$WORK/base"
    ln "$saved" "$WORK/base/base.tar" 2>/dev/null || cp "$saved" "$WORK/base/base.tar"
    printf 'FROM scratch\nADD base.tar /\n' >"$WORK/base/Dockerfile"
    buildah bud --quiet --isolation chroot --pull-never --tag "$BASE" "$WORK/base" >/dev/null
}

# built: the Dockerfile as it is. The wheels are fetched out here, so that the build needs no network; it checks them.
built() {
    check "its wheels are there for Debian's Python" "$PYTHON" -m pip download -qq --dest "$WORK/wheels" \
        --python-version 3.11 --only-binary :all: --require-hashes -r "$ROOT/requirements.txt"
    printf '[global]\nno-index = true\nfind-links = /wheels\n' >"$WORK/pip.conf"
    check "the Dockerfile builds" build
    CONTAINER=$(buildah from --pull-never --add-host gateway:127.0.0.1 ibkr-bridge)
    PLACE=$(buildah mount "$CONTAINER")
    check "it is run by a user of its own" is "$USER_ID:$USER_ID" of_image .Docker.Config.User
    check "it says how to ask for its health" is "CMD" of_image "index .Docker.Config.Healthcheck.Test 0"
    check "nothing of the project came along but the program" is ".venv bridge.py ibkr_bridge requirements.txt" \
        of_project
    check "nothing to build or install with came along" is "" tools_left
    check "its user can write nothing but its state and /tmp" is "$(printf '%s\n' /tmp /var/lib/ibkr-bridge)" writable
}

build() {
    buildah bud --isolation chroot --pull-never --format docker --tag ibkr-bridge \
        --volume "$WORK/wheels:/wheels:ro" --volume "$WORK/pip.conf:/etc/pip.conf:ro" \
        -f "$ROOT/deploy/Dockerfile" "$ROOT" >"$WORK/build.log" 2>&1 || { tail -20 "$WORK/build.log" && return 1; }
}

of_image() { buildah inspect --format "{{ $1 }}" ibkr-bridge; }

of_project() { find "$PLACE/opt/ibkr-bridge" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs; }

tools_left() {
    find "$PLACE"/{usr,opt} -name ensurepip -o -name '*.whl' -o -path '*/bin/pip*' -o -path '*/site-packages/pip*' \
        -o -path '*/bin/cc' -o -path '*/bin/gcc*' -o -path '*/bin/make'
}

# writable: what the image's user may write to in the image, but for /dev, /proc and /sys, which are not the image's.
writable() {
    buildah run --isolation chroot "$CONTAINER" \
        find / -xdev ! -type l ! -path '/dev*' ! -path '/proc*' ! -path '/sys*' -writable 2>/dev/null | sort
}

# inside: the image at work, with no network but a loopback of its own; what it leaves running ends with its namespace.
inside() {
    ip link set lo up
    install -d -o "$USER_ID" -m 0700 "$WORK/state"
    echo "$KEY" >"$WORK/key"
    simulated_gateway
    as_it_is
    read_only
    refused_without_a_key
}

simulated_gateway() {
    XDG_RUNTIME_DIR=$WORK "$PYTHON" "$ROOT/bridge.py" sim >"$WORK/sim.log" 2>&1 &
    local certificate=$ROOT/ibkr_bridge/sim/gateway/certificate.pem
    SETTINGS=(
        IBKR_BRIDGE_KEY_FILE=/run/secrets/ibkr_bridge_key
        IBKR_GATEWAY_URL=https://gateway:5000
        IBKR_BRIDGE_ALLOWED_HOSTS=bridge
        "IBKR_GATEWAY_FINGERPRINT=$("$PYTHON" -c "$FINGERPRINT" "$certificate")"
    )
}
FINGERPRINT='
import hashlib, pathlib, ssl, sys
certificate = pathlib.Path(sys.argv[1]).read_text().partition("-----BEGIN PRIVATE")[0]
print(hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.strip())).hexdigest())
'

# as_it_is: its own user, entry point and environment, and the settings that the compose file adds.
as_it_is() {
    local bridge pid
    in_container "${SETTINGS[@]}" >"$WORK/bridge.log" 2>&1 &
    bridge=$!
    check "it signs in at the Gateway by name and certificate" until_so ready
    serves
    pid=$(pgrep -u "$USER_ID" -f "^${ENTRY[0]}" || true)
    check "its process belongs to its own user" is "$USER_ID $USER_ID $USER_ID $USER_ID" status_line "$pid" Uid
    check "its health check passes" buildah run --isolation chroot "$CONTAINER" "${HEALTH[@]}"
    kill "$pid"
    check "it ends well when it is asked to" wait "$bridge"
    check "its health check fails then" is_not buildah run --isolation chroot "$CONTAINER" "${HEALTH[@]}"
    check "no key stands in its log" is_not grep -q "$KEY" "$WORK/bridge.log"
}
HEALTH=(/opt/ibkr-bridge/.venv/bin/python -I -c
    "import urllib.request as ask; ask.urlopen('http://127.0.0.1:8000/livez', timeout=3)")

# in_container NAME=VALUE...: the entry point, which buildah leaves to us to name.
in_container() {
    local each told=()
    for each in "$@"; do told+=(--env "$each"); done
    buildah run --isolation chroot "${told[@]}" --volume "$WORK/key:/run/secrets/ibkr_bridge_key:ro" \
        --volume "$WORK/state:/var/lib/ibkr-bridge" "$CONTAINER" "${ENTRY[@]}"
}
ENTRY=(/opt/ibkr-bridge/.venv/bin/python -u /opt/ibkr-bridge/bridge.py)

serves() {
    check "  /health is as promised" is '{"status":"ok","bridge":"running"}' curl -s http://127.0.0.1:8000/health
    check "  a call with the key is answered by the Gateway" is 200 code -H "X-Bridge-Key: $KEY" /portfolio/accounts
    check "  a call without it is refused" is 401 code /portfolio/accounts
    check "  any address of its own is welcome" is 200 code -H "Host: 10.214.50.10:8000" /health
    check "  so is its name in the compose file" is 200 code -H "Host: bridge:8000" /health
    check "  somebody else's name is not" is 403 code -H "Host: elsewhere.example" /health
}

ready() { [[ $(curl -s http://127.0.0.1:8000/readyz) == ready ]]; }
code() { curl -s -o /dev/null -w '%{http_code}' "${@:1:$#-1}" "http://127.0.0.1:8000${*: -1}"; }
status_line() { awk -v name="$2:" '$1 == name { $1 = ""; print substr($0, 2) }' "/proc/$1/status"; }
is_not() { ! "$@" 2>/dev/null; }

# read_only: the same on a root that cannot be written, as the compose file has it. buildah has no word for that.
read_only() {
    local place
    place=$(buildah mount "$CONTAINER")
    mkdir -p "$place/dev" "$place/proc" "$place/run/secrets"
    mount --bind "$place" "$place"
    mount -t proc proc "$place/proc"
    mount --bind /dev "$place/dev"
    mount -t tmpfs tmpfs "$place/run"
    mount --bind "$WORK/state" "$place/var/lib/ibkr-bridge"
    mkdir "$place/run/secrets"
    cp "$WORK/key" "$place/run/secrets/ibkr_bridge_key"
    echo "127.0.0.1 gateway" >"$WORK/hosts"
    touch "$place/etc/hosts"
    mount --bind "$WORK/hosts" "$place/etc/hosts"
    mount -o remount,bind,ro "$place"

    local bridge
    chroot --userspec "$USER_ID:$USER_ID" "$place" /usr/bin/env "${SETTINGS[@]}" IBKR_BRIDGE_URL=http://0.0.0.0:8000 \
        IBKR_BRIDGE_ALLOW_REMOTE=yes IBKR_BRIDGE_STATE_DIR=/var/lib/ibkr-bridge "${ENTRY[@]}" \
        >"$WORK/read-only.log" 2>&1 &
    bridge=$!
    check "it serves from a root that cannot be written" until_so ready
    serves
    check "  which indeed cannot be written" is_not touch "$place/tmp/trial"
    check "  and keeps the pause in its state" is 200 code -X POST -H "X-Bridge-Key: $KEY" /gateway/pause
    check "  where it is found" test -n "$(find "$WORK/state" -name '*pause*')"
    kill "$bridge"
    check "  and ends well" wait "$bridge"
    umount "$place"/{dev,proc,run,var/lib/ibkr-bridge,etc/hosts} "$place"
}

# refused_without_a_key: it would rather not start than be open to all.
refused_without_a_key() {
    local status=0
    : >"$WORK/key"
    in_container "${SETTINGS[@]}" >"$WORK/refused.log" 2>&1 || status=$?
    check "without a key it does not start" is 78 echo "$status"
    check "  and says which is missing" grep -q IBKR_BRIDGE_KEY "$WORK/refused.log"
}

case ${1:-} in
inside)
    WORK=$2 CONTAINER=$3
    inside
    ;;
*) main ;;
esac
