// Starting kernels, and naming the call that failed.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "core/cuda.hpp"

namespace tokfrag {

constexpr int kBlockThreads = 256;

// Errors of a kernel that ran before: every call reports them from then on, whoever makes it.
inline bool is_sticky(cudaError_t code) {
  switch (code) {
    case cudaErrorIllegalAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
      return true;
    default:
      return false;
  }
}

inline void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // clears it: the next call shall not fail for this one
  const char* whose = is_sticky(code) ? "an earlier kernel on this device failed, seen by " : "";
  throw CudaError(std::string(whose) + call + ": " + cudaGetErrorName(code) + " (" +
                  cudaGetErrorString(code) + ")");
}

// Starts `blocks` blocks of kBlockThreads with `shared` bytes each, at most 48 KB; the kernel's
// arguments are `arguments`.
template <class... Parameters, class... Arguments>
void launch_shared(void (*kernel)(Parameters...), std::int64_t blocks, std::size_t shared,
                   cudaStream_t stream, const char* name, const Arguments&... arguments) {
  // Arguments go by address: one of another type would be read past its end.
  static_assert((std::is_same_v<std::remove_cv_t<Parameters>, Arguments> && ...));
  constexpr std::int64_t kMostBlocks = (std::int64_t{1} << 31) - 1;
  if (blocks > kMostBlocks)
    throw CudaError(std::string(name) + ": more work than one launch holds");
  const void* pointers[] = {&arguments...};
  check_cuda(
      cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(static_cast<unsigned>(blocks)),
                       dim3(kBlockThreads), const_cast<void**>(pointers), shared, stream),
      name);
}

template <class... Parameters, class... Arguments>
void launch_blocks(void (*kernel)(Parameters...), std::int64_t blocks, cudaStream_t stream,
                   const char* name, const Arguments&... arguments) {
  launch_shared(kernel, blocks, 0, stream, name, arguments...);
}

// Starts `threads` threads, rounded up to whole blocks.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), std::int64_t threads, cudaStream_t stream,
            const char* name, const Arguments&... arguments) {
  launch_blocks(kernel, (threads + kBlockThreads - 1) / kBlockThreads, stream, name, arguments...);
}

}  // namespace tokfrag
