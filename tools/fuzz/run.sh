#!/usr/bin/env bash
# Fuzzes the native code: builds the drivers under the address and undefined-behaviour sanitizers and
# under the thread sanitizer, and runs all for some minutes. A crash leaves its input in build/fuzz
# (see main.cpp); put it into corpus/<driver>/ with the change that mends it.
#
#   tools/fuzz/run.sh [MINUTES] [SEED]      both builds; MINUTES of running, shared out (default 1)
#
# The Python drivers (parsers, WordPiece, grids against the twins) run as well, where tokfrag can be
# imported. Needs cmake and a C++ compiler with sanitizers.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
minutes=${1:-1}
seed=${2:-$(date +%s)}
out=${FUZZ_BUILD:-$root/build/fuzz}
python=${PYTHON:-python3}
drivers=(scanner encoder files grids sparse)
jobs=$(getconf _NPROCESSORS_ONLN)

build() { # build FOLDER SANITIZERS TARGET...
  local folder=$1 sanitize=$2
  shift 2
  cmake -S . -B "$folder" -DSANITIZE="$sanitize" > "$folder.log" 2>&1 &&
    cmake --build "$folder" -j "$jobs" --target "$@" >> "$folder.log" 2>&1 ||
    { tail -40 "$folder.log"; exit 1; }
}

mkdir -p "$out"
build "$out/asan" address,undefined "${drivers[@]}"
build "$out/tsan" thread threads
echo "built in ${SECONDS}s; seed $seed"

# Seven shares: the drivers', the threads', Python's.
share=$(awk -v minutes="$minutes" 'BEGIN { print minutes * 60 / 7 }')
cd "$out"
export ASAN_OPTIONS=detect_stack_use_after_return=0:allocator_may_return_null=1
for driver in "${drivers[@]}"; do
  files=("$root/tools/fuzz/corpus/$driver"/*)
  "asan/$driver" "$share" "$seed" "${files[@]}"
done
TSAN_OPTIONS=halt_on_error=1 "tsan/threads" "$share"
if "$python" -c "import tokfrag" 2> /dev/null; then
  "$python" "$root/tools/fuzz/readers.py" "$share" "$seed"
else
  echo "readers.py: left out, tokfrag cannot be imported by $python"
fi
