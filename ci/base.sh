#!/usr/bin/env bash
# debian:bookworm-slim in the engine: pulled where a registry is in reach, else made from Debian's packages.
#
# Skips whatever is there already. Made here, it is the same bytes whenever the mirror holds the same packages.
# shellcheck disable=SC2016  # what stands in single quotes is for apt and mmdebstrap
set -euo pipefail
image=debian:bookworm-slim
export SOURCE_DATE_EPOCH=1767225600

if docker image inspect "$image" >/dev/null 2>&1; then
    echo "base: $image is there"
    exit 0
fi
if timeout 120 docker pull --quiet "$image" >/dev/null 2>&1; then
    echo "base: $image pulled"
    exit 0
fi

# Without lists, apt does not tell its mirrors.
apt-get -qq update
if ! command -v mmdebstrap >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends mmdebstrap >/dev/null
fi

# The mirrors this machine already uses; no address is written down here.
sources=()
while read -r mirror suite; do
    sources+=("deb $mirror $suite main")
done < <(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Component: main' |
    awk '$2 ~ /^bookworm(-updates|-security|\/updates)?$/' | sort -u)
if [ "${#sources[@]}" -eq 0 ]; then
    echo "base: apt on this machine names no mirror of Debian 12 (bookworm)" >&2
    exit 1
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# What Debian's own slim image leaves out as well: documentation, manuals, translations. Licences stay.
if ! mmdebstrap --variant=minbase --format=tar \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
    --dpkgopt='path-exclude=/usr/share/groff/*' \
    --customize-hook='rm -f "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old' \
    --customize-hook=': >"$1/etc/resolv.conf"; echo localhost >"$1/etc/hostname"' \
    bookworm "$scratch/rootfs.tar" "${sources[@]}" >"$scratch/log" 2>&1; then
    tail -n 20 "$scratch/log" >&2
    exit 1
fi
# Not `docker import`: that would write the current time into the image.
cat >"$scratch/Dockerfile" <<'EOF'
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LABEL spikecrate.made="with mmdebstrap on this machine"
CMD ["bash"]
EOF
docker buildx build --builder default --quiet --provenance=false --sbom=false \
    --build-arg SOURCE_DATE_EPOCH --output "type=image,name=$image,oci-mediatypes=true" "$scratch" >/dev/null
echo "base: $image made"
