#!/bin/sh
# Run by `systemctl reload ibkr-bridge`, as root: copies the settings and credentials as they are now to where the
# bridge's user may read them. A process keeps the environment it began with, and its credentials too.
set -eu
umask 077
to=/run/ibkr-bridge-reload # owned by root, so that nobody else decides what is written here, or where it leads
settings=/opt/ibkr-bridge/.env
keys=/etc/ibkr-bridge/credentials
encrypted=/etc/ibkr-bridge/credentials.encrypted
rm -rf "$to.new"
mkdir "$to.new"
if [ -f "$settings" ]; then cat "$settings" >"$to.new/env"; fi
for name in IBKR_BRIDGE_KEY IBKR_BRIDGE_KEY_PREVIOUS IBKR_BRIDGE_READONLY_KEY; do
    if [ -f "$keys/$name" ]; then cat "$keys/$name" >"$to.new/$name"; fi
    if [ -f "$encrypted/$name" ]; then systemd-creds decrypt --name="$name" "$encrypted/$name" "$to.new/$name"; fi
done
chgrp -R ibkr-bridge "$to.new"
chmod -R u=rwX,g=rX,o= "$to.new"
rm -rf "$to"
mv "$to.new" "$to"
