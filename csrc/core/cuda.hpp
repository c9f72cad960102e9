// What headers shared by the host and CUDA code need; includes nothing of CUDA.
#pragma once

#include <stdexcept>

#if defined(__CUDACC__)
#define TOKFRAG_HOST_DEVICE __host__ __device__
#else
#define TOKFRAG_HOST_DEVICE
#endif

using cudaStream_t = struct CUstream_st*;

namespace tokfrag {

// A call of the CUDA runtime failed; the message names it.
class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace tokfrag
