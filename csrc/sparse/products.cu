#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/cuda_launch.hpp"
#include "sparse/cuda_kernels.hpp"

namespace tokfrag::sparse {

static_assert(kSparseThreads == kBlockThreads, "launches are of kBlockThreads");

template <>
struct Number<__half> {
  using Real = float;
  __device__ static float widen(__half number) { return __half2float(number); }
  __device__ static __half narrow(float number) { return __float2half_rn(number); }
};

template <>
struct Number<__nv_bfloat16> {
  using Real = float;
  __device__ static float widen(__nv_bfloat16 number) { return __bfloat162float(number); }
  __device__ static __nv_bfloat16 narrow(float number) { return __float2bfloat16_rn(number); }
};

namespace {

template <class E, int kWide>
__global__ void __launch_bounds__(kSparseThreads)
    multiply_kernel(const __grid_constant__ MultiplyTask task) {
  __shared__ alignas(16) Real<E> panel[kPanelNumbers<kWide>];
  const int thread = static_cast<int>(threadIdx.x);
  const ProductPlace place = product_place<kWide>(task, blockIdx.x);
  const TileGrid& grid = task.matrix.grid;
  Real<E> sums[kLaneRows<kWide>][kQuad] = {};
  for (std::int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
    const std::int64_t tile = grid.tile(chunk, place.first_row / kTile);
    if (task.matrix.starts[tile] == task.matrix.starts[tile + 1]) continue;  // for all threads
    __syncthreads();
    stage_panel<E, kWide * kWarpLanes>(
        static_cast<const E*>(task.x) + place.first_input * grid.columns + chunk * kTile,
        grid.columns, place.inputs, grid.chunk_columns(chunk), thread, panel);
    __syncthreads();
    add_chunk<E, kWide>(task, place, chunk, thread, panel, sums);
  }
  __syncthreads();
  put_sums<Real<E>, kWide>(thread, sums, panel);
  __syncthreads();
  write_sums<E, kWide>(task, place, thread, panel);
}

template <class E, int kInputs>
__global__ void __launch_bounds__(kSparseThreads)
    multiply_few_kernel(const __grid_constant__ MultiplyTask task) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpLanes;
  if (row >= task.matrix.grid.rows) return;  // whole warps
  const int lane = static_cast<int>(threadIdx.x % kWarpLanes);
  Real<E> sums[kInputs];
  row_part<E, kInputs>(task, row, lane, sums);
#pragma unroll
  for (int i = 0; i < kInputs; ++i) {
#pragma unroll
    for (int step = kWarpLanes / 2; step > 0; step /= 2) {
      sums[i] += __shfl_xor_sync(0xffffffffu, sums[i], step);
    }
    if (lane == i && i < task.batch) write_row<E>(task, i, row, sums[i]);
  }
}

template <class E>
__global__ void __launch_bounds__(kSparseThreads)
    sample_kernel(const __grid_constant__ SampleTask task) {
  constexpr int kLanes = kSampleLanes<Real<E>>;
  __shared__ alignas(16) Real<E> grad_panel[kTile * panel_stride(kLanes)];
  __shared__ alignas(16) Real<E> x_panel[kTile * panel_stride(kLanes)];
  const int thread = static_cast<int>(threadIdx.x);
  const SamplePlace place = sample_place(task, blockIdx.x);
  if (place.first >= place.last) return;  // the whole block
  Real<E> sums[kEntries] = {};
  for (std::int64_t input = 0; input < task.batch; input += kLanes) {
    __syncthreads();
    stage_sample<E>(task, place, input, thread, grad_panel, x_panel);
    __syncthreads();
    add_samples<E>(task, place, thread, grad_panel, x_panel, sums);
  }
  write_samples<E>(task, place, thread, sums);
}

template <class E>
void multiply_as(const MultiplyTask& task, cudaStream_t stream) {
  constexpr const char* kName = "sparse_mm: cudaLaunchKernel";
  if (task.batch <= kFewInputs) {
    const auto kernel = task.batch == 1 ? multiply_few_kernel<E, 1>
                                        : multiply_few_kernel<E, static_cast<int>(kFewInputs)>;
    launch_blocks(kernel, (task.matrix.grid.rows + kWarps - 1) / kWarps, stream, kName, task);
    return;
  }
  if constexpr (sizeof(Real<E>) == 4) {
    if (task.batch > kWarpLanes) {
      launch_blocks(multiply_kernel<E, 2>, product_blocks<2>(task), stream, kName, task);
      return;
    }
  }
  launch_blocks(multiply_kernel<E, 1>, product_blocks<1>(task), stream, kName, task);
}

template <class E>
void sample_as(const SampleTask& task, cudaStream_t stream) {
  launch_blocks(sample_kernel<E>, sample_blocks(task), stream, "sparse_sample: cudaLaunchKernel",
                task);
}

}  // namespace

void multiply_cuda(const MultiplyTask& task, Element element, cudaStream_t stream) {
  if (task.batch == 0) return;
  switch (element) {
    case kFloat32:
      return multiply_as<float>(task, stream);
    case kFloat64:
      return multiply_as<double>(task, stream);
    case kFloat16:
      return multiply_as<__half>(task, stream);
    case kBFloat16:
      return multiply_as<__nv_bfloat16>(task, stream);
  }
}

void sample_cuda(const SampleTask& task, Element element, cudaStream_t stream) {
  if (task.passes == 0) return;
  switch (element) {
    case kFloat32:
      return sample_as<float>(task, stream);
    case kFloat64:
      return sample_as<double>(task, stream);
    case kFloat16:
      return sample_as<__half>(task, stream);
    case kBFloat16:
      return sample_as<__nv_bfloat16>(task, stream);
  }
}

}  // namespace tokfrag::sparse
