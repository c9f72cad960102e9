#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/features/device.hpp"
#include "fragments/features/staged_device.hpp"

namespace tokfrag {

namespace {

constexpr unsigned kWarp = 32;
static_assert(kWarpStaged * (kBlockThreads / kWarp) <= kBlockStaged, "a block's warps share it");
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

// The same for sums that are no doubles: the total of a warp's lanes, in all of them.
__device__ void add_lanes(StagedFirst& sums) {
#pragma unroll
  for (unsigned apart = kWarp / 2; apart > 0; apart /= 2) {
    StagedFirst other;
    other.sum.high = __shfl_xor_sync(~0u, sums.sum.high, apart);
    other.sum.low = __shfl_xor_sync(~0u, sums.sum.low, apart);
    other.least = __shfl_xor_sync(~0u, sums.least, apart);
    other.greatest = __shfl_xor_sync(~0u, sums.greatest, apart);
    add_sums(sums, other);
  }
}
// Two-sums are not symmetric to the last bit: all lanes take what the first has.
__device__ void share_sum(Pair& sum) {
  sum.high = __shfl_sync(~0u, sum.high, 0);
  sum.low = __shfl_sync(~0u, sum.low, 0);
}

// The totals of 16 sums over the 32 lanes of a warp, lane k and lane k + 16 the k-th: each exchange
// halves the sums that a lane has to do with, so that it takes 16 of them, not 80.
__device__ float scatter_totals(StagedSecond& second) {
  const unsigned lane = threadIdx.x % kWarp;
  float* sums = second.sums;
#pragma unroll
  for (int half = kStagedSums / 2; half > 0; half /= 2) {
    const bool upper = (lane & static_cast<unsigned>(half)) != 0;
#pragma unroll
    for (int k = 0; k < half; ++k) {
      const float kept = upper ? sums[k + half] : sums[k];
      const float given = upper ? sums[k] : sums[k + half];
      sums[k] = kept + __shfl_xor_sync(~0u, given, half);
    }
  }
  return sums[0] + __shfl_xor_sync(~0u, sums[0], kStagedSums);
}

// A window takes a warp, or a whole block, and so much shared memory as its values want.
template <class T, class Out, bool kWholeBlock>
__global__ void __launch_bounds__(kBlockThreads)
    staged_kernel(const __grid_constant__ DeviceFeaturePlan plan) {
  constexpr unsigned kLanes = kWholeBlock ? kBlockThreads : kWarp;
  extern __shared__ float shared[];
  __shared__ float totals[kBlockThreads / kWarp][kStagedSums];
  const std::uint32_t item = blockIdx.x * (kBlockThreads / kLanes) + threadIdx.x / kLanes;
  // Whole groups leave together.
  if (item >= plan.batch * plan.windows * plan.channels) return;
  const auto wait = [] {
    if constexpr (kWholeBlock) {
      __syncthreads();
    } else {
      __syncwarp();
    }
  };
  const unsigned lane = threadIdx.x % kLanes;
  float* data = shared + threadIdx.x / kLanes * (plan.values + plan.tail);
  const FeatureWindow at = find_window(plan, item);
  StagedFirst first = stage_window<T>(plan, at, data, lane, kLanes);
  const auto total = [&] {
    add_lanes(first);
    share_sum(first.sum);
    if constexpr (kWholeBlock) add_warps(first);
  };
  total();
  float lift = 1;
  if (overflows(first)) {  // all lanes agree
    first.sum = lifted_sum(plan, data, lane, kLanes);
    total();
    lift = kSumLift;
  }
  const StagedCenter center = center_of(plan, first, lift);
  wait();
  const float differences = staged_differences(plan, center, data, lane, kLanes);
  wait();
  center_values(plan, center, data, lane, kLanes);
  wait();
  StagedSecond second = staged_sums(plan, data, differences, lane, kLanes);
  float own = scatter_totals(second);
  if constexpr (kWholeBlock) {
    const unsigned warp = threadIdx.x / kWarp;
    if (lane % kWarp < kStagedSums) totals[warp][lane % kWarp] = own;
    __syncthreads();
    if (warp > 0) return;
    own = totals[0][lane % kStagedSums];
    for (unsigned k = 1; k < kBlockThreads / kWarp; ++k) own += totals[k][lane % kStagedSums];
  }
  const float squares = __shfl_sync(~0u, own, kSquares);
  if (lane < kStagedSums) {
    write_staged<Out>(plan, at, first, center, static_cast<int>(lane), own, squares);
  }
}

template <class T, class Out>
void launch_staged(const DeviceFeaturePlan& plan, cudaStream_t stream) {
  const std::int64_t items = plan.batch * plan.windows * plan.channels;
  const std::uint32_t held = plan.values + plan.tail;
  const std::size_t bytes = held * sizeof(float);
  const char* name = "fragment_features: cudaLaunchKernel";
  if (held > kWarpStaged) {
    launch_shared(staged_kernel<T, Out, true>, items, bytes, stream, name, plan);
  } else {
    constexpr std::int64_t kWarps = kBlockThreads / kWarp;
    launch_shared(staged_kernel<T, Out, false>, (items + kWarps - 1) / kWarps, kWarps * bytes,
                  stream, name, plan);
  }
}

template <class T, class Out>
void launch_features(DeviceFeaturePlan plan, cudaStream_t stream) {
  const std::int64_t items = plan.batch * plan.windows * plan.channels;
  if constexpr (kIsStaged<T>) {
    if (prepare_staged(plan)) return launch_staged<T, Out>(plan, stream);
  }
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
