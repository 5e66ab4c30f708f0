#!/usr/bin/env bash
# The devcontainer CLI, the reference that VS Code shares, from its package; needs no root where node is there.
#
# Skips whatever is there already. Prints the program's path.
set -euo pipefail
version=0.89.0
place=${XDG_CACHE_HOME:-$HOME/.cache}/spikecrate/devcontainer-cli/$version
[ "$(id -u)" != 0 ] || place=/opt/devcontainer-cli/$version
program=$place/node_modules/.bin/devcontainer

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends nodejs npm >/dev/null
fi
if [ ! -x "$program" ]; then
    mkdir -p "$place"
    npm install --prefix "$place" --no-audit --no-fund --loglevel=error --no-save "@devcontainers/cli@$version" >&2
fi
echo "$program"
