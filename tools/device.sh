#!/usr/bin/env bash
# On a machine with a CUDA device, in one call of under ten minutes on 16 cores: build, tests,
# sanitizers, benches, counters. What they say goes to $OUT, at most eight files. Wants python with
# torch, numpy, regex, tqdm, pybind11, pytest, pytest-benchmark, pytest-xdist and hypothesis, cmake,
# ninja and nvcc; no network.
#
#   OUT       where results go (build/device)
#   LIMIT     seconds for all of it (560); steps that would not end in time are left out, and say so
#   DRY=1     without a device: no build, the tests skip or run on the CPU, benches are collected,
#             and all paths are tried
set -u
cd "$(dirname "$0")/.."
OUT=$(realpath -m "${OUT:-build/device}")
LIMIT=${LIMIT:-560}
DRY=${DRY:-}
python=${PYTHON:-python3}
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
mkdir -p "$OUT"
: > "$OUT/steps.txt"
export PYTHONPATH=$PWD/python CI=true PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
export TOKFRAG_CACHE_DIR=$cache
say() { printf '[%3ds] %s\n' "$SECONDS" "$*" | tee -a "$OUT/steps.txt"; }
left() { # what is left for a step that wants at most $1 seconds; 0: too little
  local most=$((LIMIT - SECONDS))
  [ "$most" -lt 20 ] && most=0
  [ "$most" -gt "$1" ] && most=$1
  echo "$most"
}

if [ -z "$DRY" ]; then
  say "build"
  architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
  cmake -S . -B build/device-build -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DSKBUILD_PROJECT_NAME=tokfrag -DSKBUILD_PROJECT_VERSION=0 -DTOKFRAG_CUDA=ON \
    -DTOKFRAG_CUDA_ARCHITECTURES="$architecture-real" -DCMAKE_CUDA_FLAGS=-lineinfo \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" \
    -DPython_EXECUTABLE="$(command -v "$python")" > "$OUT/build.log" 2>&1 &&
    cmake --build build/device-build --target _core _cuda >> "$OUT/build.log" 2>&1 &&
    cp build/device-build/_core*.so build/device-build/_cuda*.so python/tokfrag/ ||
    { tail -40 "$OUT/build.log"; exit 1; }
  nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader |
    tee -a "$OUT/steps.txt"
fi
"$python" -m tokfrag.cli info | tee -a "$OUT/steps.txt"

# Tests and sanitizers only have to be right: they run beside each other. Every allocation is its
# own there, or torch's pools would hide what lies beyond it; initcheck has to see all writes,
# torch's too, the others look at our kernels only. What they run starts every kernel once.
tests="tests/fragments/test_cuda.py tests/fragments/test_cuda_changed.py
  tests/stream/test_cuda_patches.py tests/sparse/test_cuda_sparse.py tests/core/test_cuda_module.py
  tests/core/test_cuda_every_kernel.py"
every=tests/core/test_cuda_every_kernel.py
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2> /dev/null |
  tail -1 || true)
say "tests, sanitizers beside them (${sanitizer:-none here})"
limit=$(left 240)
# Warnings of another torch than the one in CI are not what is looked for.
timeout "$limit" "$python" -m pytest $tests -q -n 4 -p no:cacheprovider -o filterwarnings=default \
  --junitxml="$OUT/tests.xml" > "$OUT/tests.log" 2>&1 &
testing=$!
sanitize() {
  local only="--kernel-name kns=tokfrag" log=$cache/$1.log
  [ "$1" = initcheck ] && only=""
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout "$limit" "$sanitizer" --tool "$1" $only \
    --error-exitcode 9 --print-limit 20 "$python" -m pytest "$every" -q -x -p no:cacheprovider \
    -o filterwarnings=default > "$log" 2>&1
  echo "$1: exit $?" >> "$cache/codes"
}
if [ -n "$sanitizer" ]; then
  for tool in memcheck racecheck synccheck initcheck; do sanitize "$tool" & done
fi
wait "$testing"
code=$?
tail -15 "$OUT/tests.log"
say "tests: exit $code"
wait
for tool in memcheck racecheck synccheck initcheck; do
  [ -f "$cache/$tool.log" ] && { echo "== $tool"; cat "$cache/$tool.log"; } >> "$OUT/sanitizers.log"
done
[ -f "$cache/codes" ] && tee -a "$OUT/steps.txt" < "$cache/codes"

# The device alone. An interrupt, when the time is up, leaves what was measured in the JSON.
bench() { # file, seconds
  local limit json=$cache/${1%.py}.json
  limit=$(left "$2")
  [ "$limit" = 0 ] && { say "$1 left out, for time"; return; }
  say "$1"
  (cd bench && timeout -s INT -k 15 "$limit" "$python" -m pytest -c ../pyproject.toml \
    --rootdir .. -q -p no:cacheprovider -o filterwarnings=default "$1" \
    --benchmark-json="$json" ${DRY:+--collect-only}) > "$cache/bench.log" 2>&1 ||
    tail -30 "$cache/bench.log" >> "$OUT/tests.log"
  [ -s "$json" ] && "$python" bench/report.py "$json" | tee -a "$OUT/bench.md"
  [ -s "$json" ] && jsons+=("$json")
}
jsons=()
bench bench_cuda.py 200
bench bench_cuda_kernels.py 90
if [ "${#jsons[@]}" -gt 0 ]; then
  "$python" - "$OUT/bench.json" "${jsons[@]}" << 'PY'
import json, sys
target, *sources = sys.argv[1:]
made = [json.load(open(source)) for source in sources]
made[0]["benchmarks"] = [row for part in made for row in part["benchmarks"]]
json.dump(made[0], open(target, "w"))
PY
fi

# What each kernel waits for: its stalls say what to change first.
counters=$(command -v ncu || ls -d /opt/nvidia/nsight-compute/*/ncu 2> /dev/null | tail -1 || true)
limit=$(left 80)
if [ -n "$counters" ] && [ "$limit" != 0 ]; then
  say "counters"
  timeout -s INT -k 15 "$limit" "$counters" --clock-control none --kernel-name-base mangled \
    -k regex:tokfrag --launch-count 100 --section SpeedOfLight --section Occupancy \
    --section WarpStateStats --section LaunchStats "$python" -m pytest "$every" -q \
    -p no:cacheprovider > "$OUT/counters.txt" 2>&1
fi
say "done: tests $code"
exit "$code"
