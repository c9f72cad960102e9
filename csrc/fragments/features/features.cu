#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/features/device.hpp"

namespace tokfrag {

namespace {

constexpr unsigned kWarp = 32;
// Windows of so many values are worth a whole block.
constexpr std::uint32_t kBlockValues = 4096;

// The sum over the lanes of each warp, in all of its lanes, always added in the same order.
template <class Sums>
__device__ void add_lanes(Sums& sums) {
  constexpr int kDoubles = sizeof(Sums) / sizeof(double);
#pragma unroll
  for (unsigned apart = kWarp / 2; apart > 0; apart /= 2) {
    Sums other;
    auto* to = reinterpret_cast<double*>(&other);
    const auto* from = reinterpret_cast<const double*>(&sums);
#pragma unroll
    for (int i = 0; i < kDoubles; ++i) to[i] = __shfl_down_sync(~0u, from[i], apart);
    add_sums(sums, other);
  }
  auto* total = reinterpret_cast<double*>(&sums);
#pragma unroll
  for (int i = 0; i < kDoubles; ++i) total[i] = __shfl_sync(~0u, total[i], 0);
}

// The same over the warps of a block.
template <class Sums>
__device__ void add_warps(Sums& sums) {
  __shared__ Sums warps[kBlockThreads / kWarp];
  __syncthreads();  // the last use of `warps` is over
  if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = sums;
  __syncthreads();
  sums = warps[0];
  for (unsigned warp = 1; warp < kBlockThreads / kWarp; ++warp) add_sums(sums, warps[warp]);
}

// A window takes a warp, or a whole block.
template <class T, class Out>
__global__ void __launch_bounds__(kBlockThreads)
    features_kernel(const __grid_constant__ DeviceFeaturePlan plan, bool whole_block) {
  const unsigned lanes = whole_block ? kBlockThreads : kWarp;
  const std::int64_t item =
      static_cast<std::int64_t>(blockIdx.x) * (kBlockThreads / lanes) + threadIdx.x / lanes;
  // Whole groups leave together.
  if (item >= plan.batch * plan.windows * plan.channels) return;
  const unsigned lane = threadIdx.x % lanes;
  const FeatureWindow at = find_window(plan, item);
  FirstSums first = first_pass<T>(plan, at, lane, lanes);
  add_lanes(first);
  if (whole_block) add_warps(first);
  const double mean = window_mean<T>(plan, at, first);
  SecondSums second = second_pass<T>(plan, at, mean, lane, lanes);
  add_lanes(second);
  if (whole_block) add_warps(second);
  if (lane == 0) write_features<Out>(plan, at, mean, first, second);
}

template <class T, class Out>
void launch_features(const DeviceFeaturePlan& plan, cudaStream_t stream) {
  const std::int64_t items = plan.batch * plan.windows * plan.channels;
  const bool whole_block = plan.values >= kBlockValues;
  launch(features_kernel<T, Out>, items * (whole_block ? kBlockThreads : kWarp), stream,
         "fragment_features: cudaLaunchKernel", plan, whole_block);
}

}  // namespace

void features_cuda(const DeviceFeaturePlan& plan, Dtype dtype, cudaStream_t stream) {
  if (plan.batch * plan.windows * plan.channels == 0) return;
  switch (dtype) {
    case Dtype::kBool:
      return launch_features<bool, float>(plan, stream);
    case Dtype::kU8:
      return launch_features<std::uint8_t, float>(plan, stream);
    case Dtype::kI8:
      return launch_features<std::int8_t, float>(plan, stream);
    case Dtype::kI16:
      return launch_features<std::int16_t, float>(plan, stream);
    case Dtype::kI32:
      return launch_features<std::int32_t, float>(plan, stream);
    case Dtype::kI64:
      return launch_features<std::int64_t, float>(plan, stream);
    case Dtype::kF16:
      return launch_features<Half, Half>(plan, stream);
    case Dtype::kBF16:
      return launch_features<BFloat16, BFloat16>(plan, stream);
    case Dtype::kF32:
      return launch_features<float, float>(plan, stream);
    case Dtype::kF64:
      return launch_features<double, double>(plan, stream);
  }
}

}  // namespace tokfrag
