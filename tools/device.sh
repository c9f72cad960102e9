#!/usr/bin/env bash
# On a machine with a CUDA device: build, tests, sanitizers, benches; what they say goes to $OUT.
# Some six minutes on 16 cores. Wants python with torch, pybind11, pytest, pytest-benchmark,
# pytest-xdist and hypothesis, cmake, ninja and nvcc; no network.
set -u
cd "$(dirname "$0")/.."
OUT=$(realpath -m "${OUT:-build/device}")
python=${PYTHON:-python3}
mkdir -p "$OUT"
export PYTHONPATH=$PWD/python CI=true PYTHONDONTWRITEBYTECODE=1 TOKFRAG_CACHE_DIR=$OUT/cache
say() { printf '[%3ds] %s\n' "$SECONDS" "$*" | tee -a "$OUT/steps.txt"; }

say "build"
cmake -S . -B build/device-build -G Ninja -DCMAKE_BUILD_TYPE=Release -DSKBUILD_PROJECT_NAME=tokfrag \
  -DSKBUILD_PROJECT_VERSION=0 -DTOKFRAG_CUDA=ON -DCMAKE_CUDA_FLAGS=-lineinfo \
  -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" \
  -DPython_EXECUTABLE="$(command -v "$python")" > "$OUT/build.log" 2>&1 &&
  cmake --build build/device-build --target _core _cuda >> "$OUT/build.log" 2>&1 &&
  cp build/device-build/_core*.so build/device-build/_cuda*.so python/tokfrag/ ||
  { tail -40 "$OUT/build.log"; exit 1; }
"$python" -m tokfrag.cli info | tee "$OUT/info.txt"

say "tests"
tests="tests/fragments/test_cuda.py tests/fragments/test_cuda_changed.py
  tests/stream/test_cuda_patches.py tests/sparse/test_cuda_sparse.py tests/core/test_cuda_module.py"
timeout 240 "$python" -m pytest $tests -q -n 4 -p no:cacheprovider \
  --junitxml="$OUT/tests.xml" > "$OUT/tests.log" 2>&1
code=$?
tail -15 "$OUT/tests.log"

# Every allocation its own, or torch's pools would hide what lies beyond it. initcheck has to see
# all writes, torch's too; the others look at our kernels only.
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2> /dev/null |
  tail -1 || true)
[ -n "$sanitizer" ] || say "no compute-sanitizer here: nothing is sanitized"
if [ -n "$sanitizer" ]; then
  for tool in memcheck racecheck synccheck initcheck; do
    [ "$SECONDS" -lt 380 ] || { say "$tool left out, for time"; continue; }
    say "$tool"
    only="--kernel-name kns=tokfrag"
    [ "$tool" = initcheck ] && only=""
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout 90 "$sanitizer" --tool "$tool" $only \
      --error-exitcode 9 --print-limit 20 "$python" -m pytest $tests -q -x -p no:cacheprovider \
      -k "any_strides or by_a_block or uncovered or exact or same_bits" > "$OUT/$tool.log" 2>&1
    echo "$tool: exit $?" | tee -a "$OUT/steps.txt"
  done
fi

say "benches"
(cd bench && timeout 150 "$python" -m pytest -c ../pyproject.toml --rootdir .. -q \
  -p no:cacheprovider bench_cuda.py --benchmark-json="$OUT/bench.json") > "$OUT/bench.log" 2>&1
"$python" bench/report.py "$OUT/bench.json" | tee "$OUT/bench.md"
say "done: tests $code"
exit "$code"
