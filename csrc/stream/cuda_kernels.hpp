// The CUDA twin of patchify, as the host calls it; see fragments/cuda_kernels.hpp.
#pragma once

#include "core/cuda.hpp"
#include "stream/patches_device.hpp"

namespace tokfrag {

// See patches.hpp; images and output lie on the current device, scale and shift on the host. No
// table; uint8 or float32, of which the first alone may become uint8.
void patchify_cuda(const PatchTask& task, cudaStream_t stream);

}  // namespace tokfrag
