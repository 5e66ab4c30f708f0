#!/usr/bin/env bash
# A real Apptainer on a bare Debian 12 machine, as root.
#
# Skips whatever is there already. Debian 12 has no Apptainer and Debian sid's needs a newer libc, which is not
# for this machine: so the package is unpacked, not installed, beside the libc of Debian 13, and its two programs
# are told to load that one. Everything else comes from the release.
set -euo pipefail
place=/opt/apptainer
bin=/usr/local/bin

works() {
    command -v apptainer >/dev/null && command -v singularity >/dev/null && apptainer --version >/dev/null 2>&1
}

# A user who is not root mounts a SIF through FUSE; where no udev runs, nobody has opened the device to users.
if [ -c /dev/fuse ] && [ "$(stat -c %a /dev/fuse)" != 666 ]; then
    chmod 666 /dev/fuse
fi

if works; then
    echo "apptainer: $(apptainer --version) is there"
    exit 0
fi

wanted=()
for pair in mksquashfs:squashfs-tools newuidmap:uidmap squashfuse:squashfuse fuse-overlayfs:fuse-overlayfs patchelf:patchelf; do
    command -v "${pair%%:*}" >/dev/null || wanted+=("${pair##*:}")
done
for pair in libsqlite3.so.0:libsqlite3-0 libseccomp.so.2:libseccomp2; do
    [ -e "/usr/lib/$(uname -m)-linux-gnu/${pair%%:*}" ] || wanted+=("${pair##*:}")
done
if [ "${#wanted[@]}" -gt 0 ]; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${wanted[@]}" >/dev/null
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# The mirror this machine already uses; no address is written down here. Its other releases are read into a
# state of its own, so that apt on this machine never offers them.
# shellcheck disable=SC2016  # apt expands it
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | sort -u | head -n 1)
for release in trixie sid; do
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
        "${mirror:?no Debian mirror is configured in apt}" "$release"
done >"$scratch/sources.list"
mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial" "$scratch/packages"
# apt downloads as a user of its own.
chown -R _apt "$scratch" 2>/dev/null || true
chmod 755 "$scratch"
apart=(-o "Dir::Etc::sourcelist=$scratch/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o "Dir::State::lists=$scratch/lists" -o "Dir::Cache=$scratch/cache" -o Acquire::Languages=none
    # A frozen mirror's sid is past its date after a week; its signature is checked all the same.
    -o Acquire::Check-Valid-Until=false)
apt-get -qq "${apart[@]}" update
(cd "$scratch/packages" && apt-get -qq "${apart[@]}" download apptainer/sid libc6/trixie)

rm -rf "$place"
mkdir -p "$place/libc"
dpkg -x "$scratch"/packages/apptainer_*.deb "$place"
dpkg -x "$scratch"/packages/libc6_*.deb "$place/libc"
# Apptainer finds its settings from where its programs lie: bin/ beside etc/ and var/ for the one, and for the
# other, whose folder is one deeper than the upstream's, from lib/.
mv "$place"/usr/* "$place"
rmdir "$place/usr"
ln -s ../etc ../var "$place/lib"

machine="$(uname -m)-linux-gnu"
library="$place/libc/usr/lib/$machine"
loader=$(find "$library" -name 'ld-linux-*.so.*' -print -quit)
for program in "$place/bin/apptainer" "$place/lib/$machine/apptainer/bin/starter"; do
    # Whatever else it loads is the release's.
    patchelf --set-interpreter "$loader" --set-rpath "$library:/usr/lib/$machine" "$program"
done
ln -sf "$place/bin/apptainer" "$bin/apptainer"
# The other name that programs know it by.
ln -sf apptainer "$bin/singularity"

works || {
    echo "apptainer: it is unpacked in $place but does not start" >&2
    exit 1
}
echo "apptainer: $(apptainer --version) is unpacked in $place"
