#!/usr/bin/env bash
# A display without a screen from Debian's packages, as root, and what finds and photographs its windows.
#
# Skips whatever is there already.
set -euo pipefail

state="are there"
for program in Xvfb xauth xdpyinfo xdotool xwd; do
    command -v "$program" >/dev/null || state="are installed"
done
if [ "$state" = "are installed" ]; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        xvfb xauth x11-utils xdotool x11-apps >/dev/null
fi
echo "x11: Xvfb, xauth, xdpyinfo, xdotool and xwd $state"
