#!/usr/bin/env bash
# .venv with the locked dependencies and this clone: by uv where there is one, else by venv and pip.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

missing() {
    echo "$1; this installs it: $2" >&2
    exit 1
}

if [ -n "${SPIKECRATE_DEV-}" ]; then
    echo "this is the development container, which has an environment of its own: nox -s fast, or invoke" >&2
    exit 1
fi

python=""
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$(command -v "$candidate")
        break
    fi
done
[ -n "$python" ] || missing "Python 3.11 or newer is needed" "sudo apt-get install python3 python3-venv"

rm -f .venv/.made
if command -v uv >/dev/null; then
    echo "making .venv with uv"
    uv venv --quiet --allow-existing --python "$python" .venv
    # Compiled now, as pip does it: the first command of the day is then as fast as the second.
    install=(uv pip install --quiet --compile-bytecode --python .venv/bin/python)
else
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        missing "The venv module of $python is needed" "sudo apt-get install $(basename "$python")-venv"
    echo "making .venv with venv and pip"
    "$python" -m venv .venv
    install=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
fi
"${install[@]}" --require-hashes -r requirements.lock
"${install[@]}" --no-deps --no-build-isolation -e .
touch .venv/.made
