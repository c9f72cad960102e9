#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/extract/changed_device.hpp"

namespace tokfrag {

namespace {

template <class In, class Out, int kNumbers>
__global__ void __launch_bounds__(kBlockThreads)
    changed_kernel(const __grid_constant__ DeviceChangedPlan plan) {
  const std::uint32_t block = blockIdx.x * (kExtractUnits * kBlockThreads);
  extract_changed<In, Out, kNumbers>(plan, block + threadIdx.x, kBlockThreads);
}

template <class In, class Out>
void launch_changed(const ChangedCall& call) {
  const GridLayout layout = counted_in_numbers(call.layout);
  const int numbers = changed_numbers(layout, sizeof(Out), call.data, call.fragments);
  if (numbers == 0) throw CudaError("extract: more numbers than 32 bits count");
  const auto plan = make_changed_plan(layout, call.change, call.channels, call.below, numbers,
                                      call.data, call.fragments, call.pad_value);
  const auto kernel =
      numbers == 1 ? changed_kernel<In, Out, 1> : changed_kernel<In, Out, kChangedWide>;
  launch(kernel, (std::int64_t{plan.cut.units} + kExtractUnits - 1) / kExtractUnits, call.stream,
         "extract: cudaLaunchKernel", plan);
}

template <class In>
void choose_kernel(const ChangedCall& call) {
  if (call.out_dtype == Dtype::kF16) return launch_changed<In, Half>(call);
  if (call.out_dtype == Dtype::kBF16) return launch_changed<In, BFloat16>(call);
  if (call.out_dtype == Dtype::kF32) return launch_changed<In, float>(call);
  throw CudaError("extract: changes numbers to float16, bfloat16 or float32");
}

}  // namespace

void extract_changed_cuda(const ChangedCall& call) {
  if (is_empty(call.layout)) return;
  if (call.dtype == Dtype::kU8) return choose_kernel<std::uint8_t>(call);
  if (call.dtype == Dtype::kI16) return choose_kernel<std::int16_t>(call);
  if (call.dtype == Dtype::kF16) return choose_kernel<Half>(call);
  if (call.dtype == Dtype::kBF16) return choose_kernel<BFloat16>(call);
  if (call.dtype == Dtype::kF32) return choose_kernel<float>(call);
  throw CudaError("extract: changes uint8, int16, float16, bfloat16 or float32");
}

}  // namespace tokfrag
