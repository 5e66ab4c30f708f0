#!/usr/bin/env bash
# strace from Debian's packages, as root: it kills a program at the n-th call that it makes of the kernel.
#
# Skips it where it is there already.
set -euo pipefail

if command -v strace >/dev/null; then
    state="is there"
else
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends strace >/dev/null
    state="is installed"
fi
echo "strace: $(strace --version | sed -n '1s/.* //p') $state"
