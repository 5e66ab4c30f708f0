#!/usr/bin/env bash
# An image registry from Debian's packages, as root and without systemd, for this machine alone.
#
# Skips whatever is there already. It listens on 127.0.0.1:5000 only, where Docker asks for no certificate; its images lie
# in /var/lib/spikecrate-registry.
set -euo pipefail
address=127.0.0.1:5000
folder=/var/lib/spikecrate-registry
log=/var/log/spikecrate-registry.log

answers() {
    # A web server's first words, by bash alone.
    exec 3<>"/dev/tcp/${address/://}" || return 1
    printf 'GET /v2/ HTTP/1.0\r\n\r\n' >&3
    head -n 20 <&3 | grep -qi '^docker-distribution-api-version'
} 2>/dev/null

if answers; then
    echo "registry: $address is up"
    exit 0
fi

if ! command -v docker-registry >/dev/null; then
    # Debian's own service would listen on every address.
    [ ! -d /run/systemd/system ] || systemctl --quiet mask docker-registry
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends docker-registry >/dev/null
fi

mkdir -p "$folder"
cat >"$folder.yml" <<EOF
version: 0.1
log:
  level: warn
storage:
  filesystem:
    rootdirectory: $folder
  delete:
    enabled: true
http:
  addr: $address
EOF
# A process of its own session: it outlives the shell that started it, and holds none of its pipes open.
setsid docker-registry serve "$folder.yml" >"$log" 2>&1 </dev/null &
for _ in $(seq 60); do
    if answers; then
        echo "registry: $address started"
        exit 0
    fi
    sleep 0.5
done
echo "registry: it did not come up; the end of $log:" >&2
tail -n 20 "$log" >&2
exit 1
