#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/merge/choice_device.hpp"

namespace tokfrag {

namespace {

template <class Merge>
__global__ void __launch_bounds__(kBlockThreads, Merge::kBlocks)
    merge_kernel(const __grid_constant__ typename Merge::Plan plan) {
  using Index = typename Merge::Index;
  const Index unit = static_cast<Index>(blockIdx.x) * kBlockThreads + threadIdx.x;
  if (unit < plan.units) Merge::run(plan, unit);
}

struct Launch {
  template <class Merge>
  void operator()(const MergeCall& call, Merge) const {
    const typename Merge::Plan plan = plan_of<Merge>(call);
    launch(merge_kernel<Merge>, static_cast<std::int64_t>(plan.units), call.stream,
           "merge: cudaLaunchKernel", plan);
  }
};

}  // namespace

void merge_cuda(const GridLayout& layout, const GridShape& grid, const DeviceWindow& window,
                Dtype dtype, const void* fragments, void* out, const void* fill,
                cudaStream_t stream) {
  bool empty = layout.batch == 0;
  for (int axis = 0; axis < layout.rank; ++axis) {
    empty = empty || layout.axes[axis].grid.length == 0;
  }
  if (empty) return;
  const MergeCall call{layout, grid, window, dtype, fragments, out, fill, stream};
  if (window.reduce >= Reduce::kMedian) return order_cuda(call);
  switch (dtype) {
    case Dtype::kBool:
    case Dtype::kU8:
      return choose_merge<std::uint8_t>(call, Launch{});
    case Dtype::kI8:
      return choose_merge<std::int8_t>(call, Launch{});
    case Dtype::kI16:
      return choose_merge<std::int16_t>(call, Launch{});
    case Dtype::kI32:
      return choose_merge<std::int32_t>(call, Launch{});
    case Dtype::kI64:
      return choose_merge<std::int64_t>(call, Launch{});
    case Dtype::kF16:
      return choose_merge<Half>(call, Launch{});
    case Dtype::kBF16:
      return choose_merge<BFloat16>(call, Launch{});
    case Dtype::kF32:
      return choose_merge<float>(call, Launch{});
    case Dtype::kF64:
      return choose_merge<double>(call, Launch{});
  }
}

}  // namespace tokfrag
