#!/bin/sh
# Run as root when ibkr-bridge starts, and by `systemctl reload ibkr-bridge`: copies the settings and credentials as they
# are now to where the bridge's user may read them. A process keeps the environment it began with, and its credentials.
set -eu
umask 077
to=/run/ibkr-bridge-reload # owned by root, so that nobody else decides what is written here, or where it leads
settings=/opt/ibkr-bridge/.env
keys=/etc/ibkr-bridge/credentials
encrypted=/etc/ibkr-bridge/credentials.encrypted

# Restarts that fail follow each other at growing distances, also where systemd knows no RestartSteps= (before 254).
# Not where somebody starts it by hand: then systemd's count is still the one of the start before.
pause() {
    told=$(systemctl show ibkr-bridge.service -p NRestarts -p ExecMainStartTimestampMonotonic -p ExecMainExitTimestampMonotonic)
    times=$(printf '%s\n' "$told" | sed -n 's/^NRestarts=\([0-9]*\)$/\1/p')
    began=$(printf '%s\n' "$told" | sed -n 's/^ExecMainStart.*=\([0-9]*\)$/\1/p')
    ended=$(printf '%s\n' "$told" | sed -n 's/^ExecMainExit.*=\([0-9]*\)$/\1/p')
    before=$(cat "$to/restarts" 2>/dev/null || echo 0)
    ran=$(((ended - began) / 1000000)) # seconds
    if [ "$times" -gt 1 ] && [ "$times" != "$before" ] && [ $ran -lt 60 ]; then
        sleep $((times < 5 ? 1 << times - 1 : 16))
    fi
}

if [ "${1:-}" = start ]; then pause; fi
rm -rf "$to.new"
trap 'rm -rf "$to.new"' EXIT # whatever fails on the way, no copy of a key is left
mkdir "$to.new"
if [ -f "$settings" ]; then cat "$settings" >"$to.new/env"; fi
if [ "${1:-}" = start ]; then
    printf '%s' "$times" >"$to.new/restarts"
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
