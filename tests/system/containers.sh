#!/usr/bin/env bash
# A test of the container files without Docker: docker-compose parses the compose file, and buildah builds the image and
# runs it in a new network namespace in front of the simulated Gateway. Needs root, and two gigabytes of disk while it
# runs. The base image is made from Debian's packages once and stored in the cache directory.
set -euo pipefail
export LC_ALL=C # so that `sort` gives the same order here and in the image
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
# shellcheck source=tests/system/checks.sh
source "$HERE/checks.sh"

PYTHON=$ROOT/.venv/bin/python
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ibkr-bridge
BASE=$(sed -n "s/^ARG BASE=//p" "$ROOT/deploy/Dockerfile") # here an image with Debian's own Python
MIRROR=${DEBIAN_MIRROR:-} # empty: the default of debootstrap
USER_ID=10001
KEY=key-of-the-container-test-0123456789

main() {
    [[ $EUID == 0 ]] || skip "the test of the containers needs root"
    [[ -x $PYTHON ]] || skip "there is no Python environment yet: make setup"
    WORK=$(mktemp -d)
    trap clean_up EXIT
    check_compose_files
    check_image
    sum_up
}

clean_up() {
    [[ -z ${CONTAINER:-} ]] || buildah rm "$CONTAINER" >/dev/null || true
    rm -rf "$WORK"
}

# check_compose_files: docker-compose accepts both profiles, and a complete YAML reader reads the same as ours.
check_compose_files() {
    compare_yaml_readers
    command -v docker-compose >/dev/null || {
        echo "skipped: docker-compose is missing, so it cannot check the compose file (apt install docker-compose)"
        return
    }
    local profile
    for profile in host contained; do
        check "docker-compose accepts the profile $profile" \
            docker-compose -f "$ROOT/deploy/ibeam-compose.yml" --profile "$profile" config --quiet
    done
    check "docker-compose accepts the file of the example" \
        docker-compose -f "$ROOT/examples/nextjs/compose.yml" config --quiet
}

# compare_yaml_readers: the small reader of `make test` and a complete one read the same content.
compare_yaml_readers() {
    python3 -c 'import yaml' 2>/dev/null || {
        echo "skipped: there is no YAML library to compare the small reader with (apt install python3-yaml)"
        return
    }
    local file
    for file in deploy/ibeam-compose.yml deploy/inputs/conf.yaml; do
        check "both readers read the same in $file" is "$(python3 -c "$COMPLETE_READER" "$ROOT/$file")" small_reader "$file"
    done
}
COMPLETE_READER='
import json, sys, yaml

def merge_anchors(value):
    if isinstance(value, list):
        return [merge_anchors(each) for each in value]
    if isinstance(value, dict):
        value = {**value.pop("<<", {}), **value}
        return {name: merge_anchors(each) for name, each in value.items()}
    return value

print(json.dumps(merge_anchors(yaml.load(open(sys.argv[1]), yaml.BaseLoader)), sort_keys=True))
'

small_reader() {
    (cd "$ROOT" && "$PYTHON" -c 'import json, pathlib, sys
from tests.deploy.yaml_reader import read_plain
print(json.dumps(read_plain(pathlib.Path(sys.argv[1])), sort_keys=True))' "$1")
}

# check_image: build the image, check its content, and run it.
check_image() {
    local program
    for program in buildah debootstrap unshare curl; do
        command -v "$program" >/dev/null || {
            echo "skipped: $program is missing, so no image is built (apt install buildah debootstrap)"
            return
        }
    done
    set_up_storage
    make_base_image || {
        echo "skipped: the base image could not be made; the reason is in $CACHE/debootstrap.log"
        return
    }
    check_build
    unshare --net --mount --pid --fork --kill-child --mount-proc \
        "$BASH" "$HERE/containers.sh" inside "$WORK" "$CONTAINER" | tee "$WORK/results"
    PASSED=$((PASSED + $(grep -c '^ok ' "$WORK/results" || true)))
    FAILED=$((FAILED + $(grep -c '^FAILED ' "$WORK/results" || true)))
}

# set_up_storage: store the images of this test in a directory of their own.
set_up_storage() {
    mkdir -p "$CACHE"
    export CONTAINERS_STORAGE_CONF=$WORK/storage.conf
    printf '[storage]\ndriver = "vfs"\nrunroot = "%s"\ngraphroot = "%s"\n' "$WORK/run" "$WORK/images" \
        >"$CONTAINERS_STORAGE_CONF"
}

# make_base_image: an image of Debian with its Python, under the name that the Dockerfile uses.
make_base_image() {
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

# check_build: build the unchanged Dockerfile. The wheels are downloaded before, so that the build needs no network; it
# checks their hashes.
check_build() {
    check "the wheels for Debian's Python can be downloaded" "$PYTHON" -m pip download -qq --dest "$WORK/wheels" \
        --python-version 3.11 --only-binary :all: --require-hashes -r "$ROOT/requirements.txt"
    printf '[global]\nno-index = true\nfind-links = /wheels\n' >"$WORK/pip.conf"
    check "the Dockerfile builds" build
    CONTAINER=$(buildah from --pull-never --add-host gateway:127.0.0.1 ibkr-bridge)
    PLACE=$(buildah mount "$CONTAINER")
    check "the image has a user of its own" is "$USER_ID:$USER_ID" image_field .Docker.Config.User
    check "the image has a health check" is "CMD" image_field "index .Docker.Config.Healthcheck.Test 0"
    check "the image contains only the program of the project" is ".venv bridge.py ibkr_bridge requirements.txt" \
        project_files
    check "the image has no tools to build or install programs" is "" build_tools
    check "its user can write only to its state directory and /tmp" is \
        "$(printf '%s\n' /tmp /var/lib/ibkr-bridge)" writable_paths
}

build() {
    buildah bud --isolation chroot --pull-never --format docker --tag ibkr-bridge \
        --volume "$WORK/wheels:/wheels:ro" --volume "$WORK/pip.conf:/etc/pip.conf:ro" \
        -f "$ROOT/deploy/Dockerfile" "$ROOT" >"$WORK/build.log" 2>&1 || { tail -20 "$WORK/build.log" && return 1; }
}

image_field() { buildah inspect --format "{{ $1 }}" ibkr-bridge; }

project_files() { find "$PLACE/opt/ibkr-bridge" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs; }

build_tools() {
    find "$PLACE"/{usr,opt} -name ensurepip -o -name '*.whl' -o -path '*/bin/pip*' -o -path '*/site-packages/pip*' \
        -o -path '*/bin/cc' -o -path '*/bin/gcc*' -o -path '*/bin/make'
}

# writable_paths: the paths in the image that its user can write, without /dev, /proc and /sys.
writable_paths() {
    buildah run --isolation chroot "$CONTAINER" \
        find / -xdev ! -type l ! -path '/dev*' ! -path '/proc*' ! -path '/sys*' -writable 2>/dev/null | sort
}

# inside: run the image in a network with a loopback device only. Its processes end together with the namespace.
inside() {
    ip link set lo up
    install -d -o "$USER_ID" -m 0700 "$WORK/state"
    echo "$KEY" >"$WORK/key"
    start_simulated_gateway
    check_default_run
    check_read_only_run
    check_run_without_key
}

start_simulated_gateway() {
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

# check_default_run: run it with its own user, entry point and environment, and the settings of the compose file.
check_default_run() {
    local bridge pid
    in_container "${SETTINGS[@]}" >"$WORK/bridge.log" 2>&1 &
    bridge=$!
    check "it connects to the Gateway by name and certificate" wait_until is_ready
    check_calls
    pid=$(pgrep -u "$USER_ID" -f "^${ENTRY[0]}" || true)
    check "its process belongs to its own user" is "$USER_ID $USER_ID $USER_ID $USER_ID" status_line "$pid" Uid
    check "its health check passes" buildah run --isolation chroot "$CONTAINER" "${HEALTH[@]}"
    kill "$pid"
    check "it ends with status 0 after a signal" wait "$bridge"
    check "its health check fails after that" is_not buildah run --isolation chroot "$CONTAINER" "${HEALTH[@]}"
    check "its log contains no key" is_not grep -q "$KEY" "$WORK/bridge.log"
}
HEALTH=(/opt/ibkr-bridge/.venv/bin/python -I -c
    "import urllib.request as ask; ask.urlopen('http://127.0.0.1:8000/livez', timeout=3)")

# in_container NAME=VALUE...: run the entry point; buildah does not run it by itself.
in_container() {
    local each environment=()
    for each in "$@"; do environment+=(--env "$each"); done
    buildah run --isolation chroot "${environment[@]}" --volume "$WORK/key:/run/secrets/ibkr_bridge_key:ro" \
        --volume "$WORK/state:/var/lib/ibkr-bridge" "$CONTAINER" "${ENTRY[@]}"
}
ENTRY=(/opt/ibkr-bridge/.venv/bin/python -u /opt/ibkr-bridge/bridge.py)

check_calls() {
    check "  /health has the documented body" is '{"status":"ok","bridge":"running"}' curl -s http://127.0.0.1:8000/health
    check "  a call with the key is answered by the Gateway" is 200 http_status -H "X-Bridge-Key: $KEY" /portfolio/accounts
    check "  a call without the key is refused" is 401 http_status /portfolio/accounts
    check "  a Host header with its own address is accepted" is 200 http_status -H "Host: 10.214.50.10:8000" /health
    check "  a Host header with its name in the compose file is accepted" is 200 http_status -H "Host: bridge:8000" /health
    check "  a Host header with another name is refused" is 403 http_status -H "Host: elsewhere.example" /health
}

is_ready() { [[ $(curl -s http://127.0.0.1:8000/readyz) == ready ]]; }
http_status() { curl -s -o /dev/null -w '%{http_code}' "${@:1:$#-1}" "http://127.0.0.1:8000${*: -1}"; }
status_line() { awk -v name="$2:" '$1 == name { $1 = ""; print substr($0, 2) }' "/proc/$1/status"; }
is_not() { ! "$@" 2>/dev/null; }

# check_read_only_run: run it with a read-only root, as the compose file does. buildah has no option for that.
check_read_only_run() {
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
    check "it serves calls with a read-only root" wait_until is_ready
    check_calls
    check "  its root cannot be written" is_not touch "$place/tmp/trial"
    check "  a pause of trading can be set" is 200 http_status -X POST -H "X-Bridge-Key: $KEY" /gateway/pause
    check "  the pause is saved in the state directory" test -n "$(find "$WORK/state" -name '*pause*')"
    kill "$bridge"
    check "  it ends with status 0" wait "$bridge"
    umount "$place"/{dev,proc,run,var/lib/ibkr-bridge,etc/hosts} "$place"
}

# check_run_without_key: it must not start, since without a key all callers could trade.
check_run_without_key() {
    local status=0
    : >"$WORK/key"
    in_container "${SETTINGS[@]}" >"$WORK/refused.log" 2>&1 || status=$?
    check "without a key it does not start" is 78 echo "$status"
    check "  the error names the missing setting" grep -q IBKR_BRIDGE_KEY "$WORK/refused.log"
}

case ${1:-} in
inside)
    WORK=$2 CONTAINER=$3
    inside
    ;;
*) main ;;
esac
