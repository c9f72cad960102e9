// Starting kernels, and naming the call that failed.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "fragments/cuda_kernels.hpp"

namespace tokfrag {

constexpr int kBlockThreads = 256;

inline void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // clears it: the next call shall not fail for this one
  throw CudaError(std::string(call) + ": " + cudaGetErrorName(code) + " (" +
                  cudaGetErrorString(code) + ")");
}

// Starts `threads` threads, rounded up to whole blocks; the kernel's arguments are `arguments`.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), std::int64_t threads, cudaStream_t stream,
            const char* name, const Arguments&... arguments) {
  constexpr std::int64_t kMostBlocks = (std::int64_t{1} << 31) - 1;
  const std::int64_t blocks = (threads + kBlockThreads - 1) / kBlockThreads;
  if (blocks > kMostBlocks)
    throw CudaError(std::string(name) + ": more work than one launch holds");
  const void* pointers[] = {&arguments...};
  check_cuda(
      cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(static_cast<unsigned>(blocks)),
                       dim3(kBlockThreads), const_cast<void**>(pointers), 0, stream),
      name);
}

}  // namespace tokfrag
