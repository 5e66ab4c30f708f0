#!/usr/bin/env bash
# Small programs from Debian's packages that tests need, as root: strace, which kills a program at the n-th call that it
# makes of the kernel, the file systems ext4 and btrfs, which tests fill, and OpenSSH's client with its agent. Skips what
# is there already.
set -euo pipefail

wanted=()
command -v strace >/dev/null || wanted+=(strace)
command -v mkfs.ext4 >/dev/null || wanted+=(e2fsprogs)
command -v mkfs.btrfs >/dev/null || wanted+=(btrfs-progs)
command -v ssh-agent >/dev/null || wanted+=(openssh-client)
if [ "${#wanted[@]}" -gt 0 ]; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${wanted[@]}" >/dev/null
    echo "tools: ${wanted[*]} installed"
else
    echo "tools: strace, mkfs.ext4, mkfs.btrfs and ssh-agent are there"
fi
