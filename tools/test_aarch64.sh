#!/usr/bin/env bash
# The native tests on an emulated 64-bit ARM. On Debian:
#   apt-get install qemu-user-static g++-aarch64-linux-gnu
# A few minutes, so it is no part of .ci/run.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 tools/native_tests.py --plain --compiler aarch64-linux-gnu-g++ \
  --run-with qemu-aarch64-static
