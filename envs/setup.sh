#!/bin/sh
# Makes .venv with the pinned versions of the extras named as arguments, or does nothing when it
# is there already. An interrupted set-up starts anew; pip's own cache keeps the downloads.
#   envs/setup.sh torch workflow nurd
set -eu
cd "$(dirname "$0")/.."
extras=$(echo "$*" | tr ' ' ',')

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# The versions were resolved for 3.11, so it comes first.
python=
for candidate in "${PYTHON:-python3.11}" python3 python3.12 python3.13; do
    if recent "$candidate"; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "no Python >= 3.11 found" \
    "on Debian 12: apt-get install -y python3 python3-venv (or set PYTHON=/path/to/python)"
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python cannot make virtual environments" \
    "on Debian 12: apt-get install -y python3-venv"

digest=$({ cat pyproject.toml envs/constraints.txt; echo "$extras"; "$python" -V; } | sha256sum)
stamp=.venv/.complete-$(echo "$digest" | cut -c1-16)
[ -e "$stamp" ] && exit 0

if [ -e .venv/.unfinished ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    echo "setup: new environment in .venv with $("$python" -V), some minutes and 3 GB"
    "$python" -m venv --clear .venv
fi
touch .venv/.unfinished
install() {
    .venv/bin/python -m pip install --disable-pip-version-check -c envs/constraints.txt "$@"
}
install --quiet --upgrade pip
# First and alone: without the pin, packages that need torch would bring a build of their choice.
install torch
install -e ".[$extras]"
.venv/bin/python -m pip check
touch "$stamp"
rm .venv/.unfinished
echo "setup: .venv is ready"
