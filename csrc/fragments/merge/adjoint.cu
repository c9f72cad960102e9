#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/extract/device.hpp"
#include "fragments/merge/adjoint_device.hpp"

namespace tokfrag {

namespace {

template <class T, int kNumbers, class Index>
__global__ void __launch_bounds__(kBlockThreads)
    weigh_kernel(const __grid_constant__ DeviceWeighedPlan<Index, AccumulatorOf<T>> plan) {
  const Index block = static_cast<Index>(blockIdx.x) * (kWeighedUnits * kBlockThreads);
  weigh_units<T, kNumbers, Index>(plan, block + threadIdx.x, kBlockThreads);
}

struct WeighCall {
  const GridLayout& layout;
  const GridShape& grid;
  const DeviceWindow& window;
  const void* data;
  const void* norms;
  void* fragments;
  cudaStream_t stream;
};

template <class T, int kNumbers, class Index>
void launch_weigh(const WeighCall& call) {
  const auto plan = make_weighed_plan<Index, AccumulatorOf<T>>(
      call.layout, call.grid, call.window, kNumbers, call.data, call.norms, call.fragments);
  const auto units = static_cast<std::int64_t>(plan.units);
  launch(weigh_kernel<T, kNumbers, Index>, (units + kWeighedUnits - 1) / kWeighedUnits, call.stream,
         "merge, backward: cudaLaunchKernel", plan);
}

template <class T>
void choose_kernel(const WeighCall& call) {
  constexpr int kWide = kMaxUnit / static_cast<int>(sizeof(T));
  if (!extract_is_narrow(call.layout, static_cast<int>(sizeof(T)))) {
    return launch_weigh<T, 1, std::uint64_t>(call);
  }
  if (weighed_numbers(call.layout, call.data, call.fragments, kWide) == kWide) {
    return launch_weigh<T, kWide, std::uint32_t>(call);
  }
  launch_weigh<T, 1, std::uint32_t>(call);
}

}  // namespace

void weigh_cuda(const GridLayout& layout, const GridShape& grid, const DeviceWindow& window,
                Dtype dtype, const void* data, const void* norms, void* fragments,
                cudaStream_t stream) {
  if (is_empty(layout)) return;
  const WeighCall call{layout, grid, window, data, norms, fragments, stream};
  if (dtype == Dtype::kF16) return choose_kernel<Half>(call);
  if (dtype == Dtype::kBF16) return choose_kernel<BFloat16>(call);
  if (dtype == Dtype::kF32) return choose_kernel<float>(call);
  if (dtype == Dtype::kF64) return choose_kernel<double>(call);
  throw CudaError("merge, backward: takes floating types");
}

}  // namespace tokfrag
