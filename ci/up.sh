#!/usr/bin/env bash
# All that the slow tests need on a bare Debian 12 machine, as root. Skips whatever is there already.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
"$here/docker.sh"
"$here/base.sh"
"$here/apptainer.sh"
"$here/qemu.sh"
"$here/tools.sh"
"$here/x11.sh"
"$here/registry.sh"
