#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/merge/device.hpp"

namespace tokfrag {

namespace {

// What a launch needs, before its types are known.
struct MergeCall {
  const GridLayout& layout;
  const GridShape& grid;
  const DeviceWindow& window;
  Dtype dtype;
  const void* fragments;
  void* out;
  const void* fill;
  cudaStream_t stream;
};

// Three blocks a multiprocessor leave 80 registers, enough for all but the general kernel.
constexpr int blocks_of(DeviceMergeMethod method) {
  return method == DeviceMergeMethod::kAny ? 1 : 3;
}

template <class T, int kNumbers, DeviceMergeMethod kMethod, int kOuter, class Index>
__global__ void __launch_bounds__(kBlockThreads, blocks_of(kMethod))
    merge_kernel(const __grid_constant__ DeviceMergePlan<Index, AccumulatorOf<T>> plan) {
  const Index unit = static_cast<Index>(blockIdx.x) * kBlockThreads + threadIdx.x;
  if (unit < plan.units) merge_unit<T, kNumbers, kMethod, kOuter, Index>(plan, unit);
}

template <class T, int kNumbers, DeviceMergeMethod kMethod, int kOuter, class Index>
void launch_merge(const MergeCall& call) {
  const auto plan =
      make_merge_plan<Index, AccumulatorOf<T>>(call.layout, call.grid, call.window, call.dtype,
                                               kNumbers, call.fragments, call.out, call.fill);
  launch(merge_kernel<T, kNumbers, kMethod, kOuter, Index>, static_cast<std::int64_t>(plan.units),
         call.stream, "merge: cudaLaunchKernel", plan);
}

// The common cases have kernels of their own; one for each type does for all the rest.
template <class T>
void choose_kernel(const MergeCall& call) {
  constexpr DeviceMergeMethod kScaled = DeviceMergeMethod::kScaled;
  constexpr DeviceMergeMethod kWhole = DeviceMergeMethod::kWhole;
  constexpr DeviceMergeMethod kExtreme = DeviceMergeMethod::kExtreme;
  constexpr int kWide = merge_wide<T>(kScaled);
  constexpr int kWidest = merge_wide<T>(kExtreme);
  const DeviceMergeMethod method = choose_merge_method(call.window, call.dtype);
  const int outer = merge_outer_axes(call.layout, call.window);
  const int numbers = merge_numbers(call.layout, call.window, call.fragments, call.out,
                                    method == kExtreme ? kWidest : kWide);
  const bool few = outer <= 2 && merge_is_narrow(call.layout);
  if (few && method == kExtreme && numbers == kWidest) {
    return launch_merge<T, kWidest, kExtreme, 2, std::uint32_t>(call);
  }
  if constexpr (!std::is_integral_v<T>) {
    if (few) {
      if (numbers == kWide && method == kScaled && outer <= 1) {
        return launch_merge<T, kWide, kScaled, 1, std::uint32_t>(call);
      }
      if (numbers == kWide && method == kScaled) {
        return launch_merge<T, kWide, kScaled, 2, std::uint32_t>(call);
      }
      if (method == kScaled) return launch_merge<T, 1, kScaled, 2, std::uint32_t>(call);
      if (numbers == kWide && method == kWhole) {
        return launch_merge<T, kWide, kWhole, 2, std::uint32_t>(call);
      }
    }
  } else if constexpr (kIsSummed<T>) {
    if (few && method == kScaled && numbers == kWide) {
      return launch_merge<T, kWide, kScaled, 2, std::uint32_t>(call);
    }
    if (few && method == kScaled) return launch_merge<T, 1, kScaled, 2, std::uint32_t>(call);
  } else {
    if (method != DeviceMergeMethod::kExtreme)
      throw CudaError("merge: int64 takes reduce='max' or 'min' only");
  }
  if (merge_is_narrow(call.layout)) {
    return launch_merge<T, 1, DeviceMergeMethod::kAny, kMaxAxes, std::uint32_t>(call);
  }
  launch_merge<T, 1, DeviceMergeMethod::kAny, kMaxAxes, std::uint64_t>(call);
}

}  // namespace

void merge_cuda(const GridLayout& layout, const GridShape& grid, const DeviceWindow& window,
                Dtype dtype, const void* fragments, void* out, const void* fill,
                cudaStream_t stream) {
  bool empty = layout.batch == 0;
  for (int axis = 0; axis < layout.rank; ++axis) {
    empty = empty || layout.axes[axis].grid.length == 0;
  }
  if (empty) return;
  if (window.reduce >= Reduce::kMedian) {
    return order_cuda({layout, grid, window, dtype, fragments, out, fill, stream});
  }
  const MergeCall call{layout, grid, window, dtype, fragments, out, fill, stream};
  switch (dtype) {
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
      return choose_kernel<std::int64_t>(call);
    case Dtype::kF16:
      return choose_kernel<Half>(call);
    case Dtype::kBF16:
      return choose_kernel<BFloat16>(call);
    case Dtype::kF32:
      return choose_kernel<float>(call);
    case Dtype::kF64:
      return choose_kernel<double>(call);
  }
}

}  // namespace tokfrag
