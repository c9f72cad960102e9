#include "core/cuda_device.hpp"

#include "core/cuda_launch.hpp"

namespace tokfrag {

namespace {

// Compiled for the same architectures as all others: a device that has code for it runs them too.
__global__ void probe_kernel() {}

}  // namespace

int current_cuda_device() {
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

void set_cuda_device(int device) { check_cuda(cudaSetDevice(device), "cudaSetDevice"); }

void check_cuda_device(int device) {
  const OnDevice here(device);
  cudaFuncAttributes attributes{};
  check_cuda(cudaFuncGetAttributes(&attributes, probe_kernel), "cudaFuncGetAttributes");
}

bool adds_doubles_slowly(int device) {
  int ratio = 0;
  check_cuda(cudaDeviceGetAttribute(&ratio, cudaDevAttrSingleToDoublePrecisionPerfRatio, device),
             "cudaDeviceGetAttribute");
  return ratio > 8;
}

int cuda_driver_version() {
  int version = 0;
  check_cuda(cudaDriverGetVersion(&version), "cudaDriverGetVersion");
  return version;
}

int cuda_toolkit_version() { return CUDART_VERSION; }

}  // namespace tokfrag
