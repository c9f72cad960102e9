#!/usr/bin/env bash
# Puts a CUDA toolkit into a Linux image in which wheels are built, and `nvcc` on PATH: the
# distribution's packages of CUDA 12.9 where a repository with them is named (TOKFRAG_CUDA_REPO:
# the address of a .repo file; its runtime serves drivers from 525 on), else PyPI's of CUDA 13
# (drivers from 580 on; PyPI has no compiler driver of CUDA 12).
set -euo pipefail
if [ "$(uname -m)" != x86_64 ]; then
  echo "no CUDA module on $(uname -m)"
  exit 0
fi
if [ -n "${TOKFRAG_CUDA_REPO:-}" ]; then
  dnf -y -q install dnf-plugins-core
  dnf -y -q config-manager --add-repo "$TOKFRAG_CUDA_REPO"
  dnf -y -q install cuda-nvcc-12-9 cuda-cudart-devel-12-9
  root=/usr/local/cuda-12.9
else
  python=$(ls -d /opt/python/cp31[0-9]-cp31[0-9]/bin/python 2> /dev/null | head -1 || true)
  root=/opt/cuda-toolkit
  "${python:-python3}" -m pip install --quiet --no-deps --target "$root" \
    'nvidia-cuda-nvcc==13.0.*' 'nvidia-nvvm==13.0.*' 'nvidia-cuda-crt==13.0.*' \
    'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cccl==13.0.*'
  root=$root/nvidia/cu13
fi
# A script, not a link: nvcc looks for its files beside the path it was called by.
printf '#!/bin/sh\nexec %s/bin/nvcc "$@"\n' "$root" > /usr/local/bin/nvcc
chmod +x /usr/local/bin/nvcc
nvcc --version
