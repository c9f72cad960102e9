#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/merge/order_device.hpp"

namespace tokfrag {

namespace {

template <class T, int kNumbers, int kOuter, class Index>
__global__ void __launch_bounds__(kBlockThreads)
    order_kernel(const __grid_constant__ DeviceMergePlan<Index, AccumulatorOf<T>> plan) {
  const Index unit = static_cast<Index>(blockIdx.x) * kBlockThreads + threadIdx.x;
  if (unit < plan.units) order_unit<T, kNumbers, kOuter, Index>(plan, unit);
}

template <class T, int kNumbers, int kOuter, class Index>
void launch_order(const OrderCall& call) {
  const auto plan =
      make_merge_plan<Index, AccumulatorOf<T>>(call.layout, call.grid, call.window, call.dtype,
                                               kNumbers, call.fragments, call.out, call.fill);
  launch(order_kernel<T, kNumbers, kOuter, Index>, static_cast<std::int64_t>(plan.units),
         call.stream, "merge: cudaLaunchKernel", plan);
}

template <class T>
void choose_kernel(const OrderCall& call) {
  constexpr int kWide = kOrderWide<T>;
  const bool few = merge_outer_axes(call.layout, call.window) <= 2 && merge_is_narrow(call.layout);
  if (!few) return launch_order<T, 1, kMaxAxes, std::uint64_t>(call);
  const int numbers = merge_numbers(call.layout, call.window, call.fragments, call.out, kWide);
  if (numbers == kWide) return launch_order<T, kWide, 2, std::uint32_t>(call);
  launch_order<T, 1, 2, std::uint32_t>(call);
}

}  // namespace

void order_cuda(const OrderCall& call) {
  const bool vote = call.window.reduce == Reduce::kVote;
  switch (call.dtype) {
    case Dtype::kBool:
    case Dtype::kU8:
      return choose_kernel<std::uint8_t>(call);
    case Dtype::kI8:
      return choose_kernel<std::int8_t>(call);
    case Dtype::kI16:
      return choose_kernel<std::int16_t>(call);
    case Dtype::kI32:
      return choose_kernel<std::int32_t>(call);
    case Dtype::kI64:
      if (!vote) break;
      return choose_kernel<std::int64_t>(call);
    case Dtype::kF16:
      if (vote) break;
      return choose_kernel<Half>(call);
    case Dtype::kBF16:
      if (vote) break;
      return choose_kernel<BFloat16>(call);
    case Dtype::kF32:
      if (vote) break;
      return choose_kernel<float>(call);
    case Dtype::kF64:
      if (vote) break;
      return choose_kernel<double>(call);
  }
  throw CudaError("merge: votes take no floats, medians no int64");
}

}  // namespace tokfrag
