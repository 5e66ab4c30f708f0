#!/usr/bin/env bash
# Docker Engine with BuildKit on a bare Debian 12 machine, as root and without systemd.
#
# Skips whatever is there already. Debian 12's own engine (20.10) has neither the containerd image store
# nor `rewrite-timestamp`, so the engine and buildx come from Debian 13 at a low pin priority; containerd
# and runc stay with the release, and libc is not touched.
set -euo pipefail

if docker info >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; then
    echo "docker: $(docker version --format '{{.Server.Version}}') is up"
    exit 0
fi

# First of all: where there is an init system, the installation starts the daemon.
mkdir -p /etc/docker
if [ ! -e /etc/docker/daemon.json ]; then
    printf '{"features": {"containerd-snapshotter": true}}\n' >/etc/docker/daemon.json
fi

if ! command -v dockerd >/dev/null || ! docker buildx version >/dev/null 2>&1; then
    apt-get -qq update
    # The mirror this machine already uses; no address is written down here.
    # shellcheck disable=SC2016  # apt expands it
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | sort -u | head -n 1)
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s trixie main\n' "${mirror:?no Debian mirror is configured in apt}" \
        >/etc/apt/sources.list.d/spikecrate-trixie.list
    printf 'Package: *\nPin: release n=trixie\nPin-Priority: 60\n' >/etc/apt/preferences.d/spikecrate-trixie
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        docker.io/trixie docker-cli/trixie docker-buildx/trixie containerd/bookworm runc/bookworm iptables >/dev/null
fi

# A daemon of its own session: it outlives the shell that started it, and holds none of its pipes open.
daemon=""
start() {
    setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &
    daemon=$!
}

docker info >/dev/null 2>&1 || start
for _ in $(seq 60); do
    if docker info >/dev/null 2>&1; then
        echo "docker: $(docker version --format '{{.Server.Version}}') started"
        exit 0
    fi
    # It gives up where an earlier daemon is still on its way out.
    kill -0 "$daemon" 2>/dev/null || start
    sleep 0.5
done
echo "docker: the daemon did not come up; the end of /var/log/dockerd.log:" >&2
tail -n 20 /var/log/dockerd.log >&2
exit 1
