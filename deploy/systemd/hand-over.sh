#!/bin/sh
# Copies the current settings and credentials to a directory that the bridge's user may read. systemd runs it as root when
# ibkr-bridge starts and at `systemctl reload ibkr-bridge`. The process itself keeps the environment and the credentials
# with which it started.
set -eu
umask 077
to=/run/ibkr-bridge-reload # owned by root, so that nobody else can write here or replace it with a link
settings=/opt/ibkr-bridge/.env
keys=/etc/ibkr-bridge/credentials
encrypted=/etc/ibkr-bridge/credentials.encrypted

# Wait before a restart after repeated failures, longer each time. systemd itself does so only from 254 on (RestartSteps=).
# After a start by hand there is no wait: the count of systemd is then the same as at the start before.
wait_after_failures() {
    properties=$(systemctl show ibkr-bridge.service -p NRestarts -p ExecMainStartTimestampMonotonic -p ExecMainExitTimestampMonotonic)
    restarts=$(printf '%s\n' "$properties" | sed -n 's/^NRestarts=\([0-9]*\)$/\1/p')
    started_us=$(printf '%s\n' "$properties" | sed -n 's/^ExecMainStart.*=\([0-9]*\)$/\1/p')
    ended_us=$(printf '%s\n' "$properties" | sed -n 's/^ExecMainExit.*=\([0-9]*\)$/\1/p')
    former_restarts=$(cat "$to/restarts" 2>/dev/null || echo 0)
    ran_s=$(((ended_us - started_us) / 1000000))
    if [ "$restarts" -gt 1 ] && [ "$restarts" != "$former_restarts" ] && [ $ran_s -lt 60 ]; then
        sleep $((restarts < 5 ? 1 << restarts - 1 : 16))
    fi
}

if [ "${1:-}" = start ]; then wait_after_failures; fi
rm -rf "$to.new"
trap 'rm -rf "$to.new"' EXIT # after an error no copy of a key stays behind
mkdir "$to.new"
if [ -f "$settings" ]; then cat "$settings" >"$to.new/env"; fi
if [ "${1:-}" = start ]; then
    printf '%s' "$restarts" >"$to.new/restarts"
    if [ -f "$to.new/env" ]; then mv "$to.new/env" "$to.new/env.began"; fi
else
    if [ -f "$to/restarts" ]; then cat "$to/restarts" >"$to.new/restarts"; fi
    if [ -f "$to/env.began" ]; then cat "$to/env.began" >"$to.new/env.began"; fi
    for name in IBKR_BRIDGE_KEY IBKR_BRIDGE_KEY_PREVIOUS IBKR_BRIDGE_READONLY_KEY; do
        if [ -f "$keys/$name" ]; then cat "$keys/$name" >"$to.new/$name"; fi
        if [ -f "$encrypted/$name" ]; then systemd-creds decrypt --name="$name" "$encrypted/$name" "$to.new/$name"; fi
    done
fi
chgrp -R ibkr-bridge "$to.new"
chmod -R u=rwX,g=rX,o= "$to.new"
rm -rf "$to"
mv "$to.new" "$to"
