#include "core/cuda_launch.hpp"
#include "stream/cuda_kernels.hpp"

namespace tokfrag {

namespace {

template <class In, class Out, int kValues>
__global__ void __launch_bounds__(kBlockThreads)
    patch_kernel(const __grid_constant__ DevicePatchPlan plan) {
  const std::uint32_t block = blockIdx.x * (kPatchUnits * kBlockThreads);
  patch_units<In, Out, kValues>(plan, block + threadIdx.x, kBlockThreads);
}

template <class In, class Out, int kValues>
void launch_patches(const PatchTask& task, cudaStream_t stream) {
  for (const DevicePatchPlan& plan : make_patch_plans(task, kValues)) {
    launch(patch_kernel<In, Out, kValues>,
           (std::int64_t{plan.units} + kPatchUnits - 1) / kPatchUnits, stream,
           "patchify: cudaLaunchKernel", plan);
  }
}

template <class In, class Out>
void choose_values(const PatchTask& task, cudaStream_t stream) {
  const int values = patch_values(task);
  if constexpr (sizeof(Out) <= 2) {
    if (values == 8) return launch_patches<In, Out, 8>(task, stream);
  }
  if (values == 4) return launch_patches<In, Out, 4>(task, stream);
  launch_patches<In, Out, 1>(task, stream);
}

template <class In>
void choose_kernel(const PatchTask& task, cudaStream_t stream) {
  if (task.out_type == Dtype::kF16) return choose_values<In, Half>(task, stream);
  if (task.out_type == Dtype::kBF16) return choose_values<In, BFloat16>(task, stream);
  if (task.out_type == Dtype::kF32) return choose_values<In, float>(task, stream);
  if constexpr (std::is_same_v<In, std::uint8_t>) {
    if (task.out_type == Dtype::kU8) return choose_values<In, std::uint8_t>(task, stream);
  }
  throw CudaError("patchify: makes float16, bfloat16, float32, and uint8 of uint8");
}

}  // namespace

void patchify_cuda(const PatchTask& task, cudaStream_t stream) {
  if (task.type == Dtype::kU8) return choose_kernel<std::uint8_t>(task, stream);
  choose_kernel<float>(task, stream);
}

}  // namespace tokfrag
