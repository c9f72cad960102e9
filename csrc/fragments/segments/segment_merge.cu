#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/segments/segment_merge_device.hpp"

namespace tokfrag {

namespace {

template <class T, int kNumbers, class Index>
__global__ void __launch_bounds__(kBlockThreads)
    reduce_kernel(const __grid_constant__ SegmentReduceTask task,
                  const __grid_constant__ RowUnits<Index> units) {
  const Index index = static_cast<Index>(blockIdx.x) * kBlockThreads + threadIdx.x;
  if (index < units.total) reduce_unit<T, kNumbers, Index>(task, units, index);
}

// Shares of long segments. A block's threads have a slot, or few, in common.
template <class T, int kNumbers>
__global__ void __launch_bounds__(kBlockThreads)
    share_kernel(const __grid_constant__ SegmentReduceTask task) {
  const std::int64_t units = task.columns / kNumbers;
  const std::int64_t index = std::int64_t{blockIdx.x} * kBlockThreads + threadIdx.x;
  const std::int64_t slot = index / units;
  if (slot >= segment_slots(task.batch * task.rows)) return;
  share_unit<T, kNumbers>(task, slot, index % units);
}

template <class T, int kNumbers, class Index>
__global__ void __launch_bounds__(kBlockThreads)
    gather_kernel(const __grid_constant__ SegmentGatherTask task,
                  const __grid_constant__ RowUnits<Index> units) {
  const Index index = static_cast<Index>(blockIdx.x) * kBlockThreads + threadIdx.x;
  if (index < units.total) gather_unit<T, kNumbers, Index>(task, units, index);
}

template <class T, int kNumbers, class Index>
void launch_rows(const SegmentReduceTask& task, cudaStream_t stream) {
  const auto units = make_row_units<Index>(task.batch, task.segments, task.columns / kNumbers);
  if (task.partial != nullptr) {
    const std::int64_t shares = segment_slots(task.batch * task.rows) * (task.columns / kNumbers);
    launch(share_kernel<T, kNumbers>, shares, stream, "segment_reduce: cudaLaunchKernel", task);
  }
  launch(reduce_kernel<T, kNumbers, Index>, static_cast<std::int64_t>(units.total), stream,
         "segment_reduce: cudaLaunchKernel", task, units);
}

template <class T, int kNumbers, class Index>
void launch_rows(const SegmentGatherTask& task, cudaStream_t stream) {
  const auto units = make_row_units<Index>(task.batch, task.rows, task.columns / kNumbers);
  launch(gather_kernel<T, kNumbers, Index>, static_cast<std::int64_t>(units.total), stream,
         "segment_gather: cudaLaunchKernel", task, units);
}

template <class T, class Task>
void choose_width(const Task& task, int numbers, std::int64_t rows, cudaStream_t stream) {
  constexpr int kWide = kMaxUnit / static_cast<int>(sizeof(T));
  const std::int64_t units = task.batch * rows * (task.columns / numbers);
  if (units >= kNarrowLimit - kBlockThreads) {
    launch_rows<T, 1, std::uint64_t>(task, stream);
  } else if (numbers == kWide) {
    launch_rows<T, kWide, std::uint32_t>(task, stream);
  } else {
    launch_rows<T, 1, std::uint32_t>(task, stream);
  }
}

template <class T>
void choose_rows(const SegmentReduceTask& task, cudaStream_t stream) {
  const int numbers =
      row_numbers<T>(task.x, task.y, task.columns, task.x_batch_stride, task.x_row_stride);
  choose_width<T>(task, numbers, task.segments, stream);
}

template <class T>
void choose_rows(const SegmentGatherTask& task, cudaStream_t stream) {
  const int numbers =
      row_numbers<T>(task.y, task.x, task.columns, task.y_batch_stride, task.y_row_stride);
  choose_width<T>(task, numbers, task.rows, stream);
}

template <class Task>
void choose_type(const Task& task, Dtype dtype, cudaStream_t stream) {
  switch (dtype) {
    case Dtype::kF16:
      return choose_rows<Half>(task, stream);
    case Dtype::kBF16:
      return choose_rows<BFloat16>(task, stream);
    case Dtype::kF32:
      return choose_rows<float>(task, stream);
    case Dtype::kF64:
      return choose_rows<double>(task, stream);
    default:
      throw CudaError("segment_merge: takes float16, bfloat16, float32 or float64");
  }
}

}  // namespace

void segment_reduce_cuda(const SegmentReduceTask& task, Dtype dtype, cudaStream_t stream) {
  if (task.batch * task.segments * task.columns > 0) choose_type(task, dtype, stream);
}

void segment_gather_cuda(const SegmentGatherTask& task, Dtype dtype, cudaStream_t stream) {
  if (task.batch * task.rows * task.columns > 0) choose_type(task, dtype, stream);
}

}  // namespace tokfrag
