#!/usr/bin/env bash
# qemu's user emulation from Debian's packages, as root: it runs a program on a processor of another model.
#
# Skips whatever is there already. Before 7.2 it emulates no AVX2, which the sorters' arithmetic is made of.
set -euo pipefail
oldest=7.2

if [ "$(uname -m)" != x86_64 ]; then
    echo "qemu: only processors of x86_64 are emulated in the tests"
    exit 0
fi
if command -v qemu-x86_64 >/dev/null; then
    state="is there"
else
    apt-get -qq update
    # Without the package it recommends, which would have the kernel run other machines' programs through it.
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends qemu-user >/dev/null
    state="is installed"
fi
version=$(qemu-x86_64 --version | sed -n 's/^qemu-x86_64 version \([0-9.]*\).*/\1/p')
if [ "$(printf '%s\n' "$oldest" "$version" | sort -V | head -n 1)" != "$oldest" ]; then
    echo "qemu: $version emulates no AVX2; $oldest or later is needed" >&2
    exit 1
fi
echo "qemu: $version $state"
