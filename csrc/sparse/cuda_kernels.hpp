// The CUDA twins of the sparse products (products.hpp), as the host calls them.
//
// All arrays lie on the current device, contiguous, of one element type; half and bfloat16 are
// computed in float. Calls put their work on `stream` and return at once. Errors of the CUDA
// runtime are thrown as CudaError.
#pragma once

#include "core/cuda.hpp"
#include "core/dtype.hpp"
#include "sparse/products_device.hpp"

namespace tokfrag::sparse {

void multiply_cuda(const MultiplyTask& task, Element element, cudaStream_t stream);
void sample_cuda(const SampleTask& task, Element element, cudaStream_t stream);

}  // namespace tokfrag::sparse
