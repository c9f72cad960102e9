// The kernels that csrc/bindings/cuda_module.cpp calls, their threads run on the host one after the
// other: with it, tests/fragments/test_cuda_emulated.py tries all of the CUDA path but the device
// itself.
#include <stdexcept>

#include "fragments/cuda_kernels.hpp"
#include "fragments/extract/device.hpp"
#include "fragments/extract/rows_device.hpp"

namespace tokfrag {

namespace {

template <int kBytes>
void run_extract(const DeviceExtractPlan<std::uint32_t>& plan) {
  constexpr std::uint32_t kThreads = 32;
  for (std::uint32_t block = 0; block < plan.units; block += kExtractUnits * kThreads) {
    for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
      extract_units<kBytes, std::uint32_t>(plan, block + thread, kThreads);
    }
  }
}

template <int kLoad>
void run_extract_rows(const DeviceRowPlan<std::uint32_t>& plan) {
  constexpr std::uint32_t kThreads = 32;
  for (std::uint32_t block = 0; block < plan.stores; block += kRowStores * kThreads) {
    for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
      extract_rows<kLoad, std::uint32_t>(plan, block + thread, kThreads);
    }
  }
}

struct MergeCall {
  const GridLayout& layout;
  const GridShape& grid;
  const DeviceWindow& window;
  Dtype dtype;
  const void* fragments;
  void* out;
  const void* fill;
};

template <class T, int kNumbers, DeviceMergeMethod kMethod, int kOuter, class Index>
void run_merge(const MergeCall& call) {
  const auto plan =
      make_merge_plan<Index, AccumulatorOf<T>>(call.layout, call.grid, call.window, call.dtype,
                                               kNumbers, call.fragments, call.out, call.fill);
  for (Index unit = 0; unit < plan.units; ++unit) {
    merge_unit<T, kNumbers, kMethod, kOuter, Index>(plan, unit);
  }
}

template <class T>
void choose_merge(const MergeCall& call) {
  constexpr int kWide = merge_wide<T>(DeviceMergeMethod::kScaled);
  constexpr int kWidest = merge_wide<T>(DeviceMergeMethod::kExtreme);
  const auto method = choose_merge_method(call.window, call.dtype);
  const int wanted = method == DeviceMergeMethod::kExtreme ? kWidest : kWide;
  const bool wide =
      wanted > 1 &&
      merge_numbers(call.layout, call.window, call.fragments, call.out, wanted) == wanted &&
      merge_outer_axes(call.layout, call.window) <= 2 && merge_is_narrow(call.layout);
  if (wide && method == DeviceMergeMethod::kExtreme) {
    return run_merge<T, kWidest, DeviceMergeMethod::kExtreme, 2, std::uint32_t>(call);
  }
  if constexpr (std::is_integral_v<T> && kIsSummed<T>) {
    if (wide && method == DeviceMergeMethod::kScaled) {
      return run_merge<T, kWide, DeviceMergeMethod::kScaled, 2, std::uint32_t>(call);
    }
  } else if constexpr (!std::is_integral_v<T>) {
    if (wide && method == DeviceMergeMethod::kScaled) {
      return run_merge<T, kWide, DeviceMergeMethod::kScaled, 2, std::uint32_t>(call);
    }
    if (wide && method == DeviceMergeMethod::kWhole) {
      return run_merge<T, kWide, DeviceMergeMethod::kWhole, 2, std::uint32_t>(call);
    }
  }
  run_merge<T, 1, DeviceMergeMethod::kAny, kMaxAxes, std::uint64_t>(call);
}

template <class T, class Out>
void run_features(const DeviceFeaturePlan& plan) {
  constexpr std::uint32_t kLanes = 4;
  for (std::int64_t item = 0; item < plan.batch * plan.windows * plan.channels; ++item) {
    const FeatureWindow at = find_window(plan, item);
    FirstSums first = first_pass<T>(plan, at, 0, kLanes);
    for (std::uint32_t lane = 1; lane < kLanes; ++lane) {
      add_sums(first, first_pass<T>(plan, at, lane, kLanes));
    }
    const double mean = window_mean<T>(plan, at, first);
    SecondSums second = second_pass<T>(plan, at, mean, 0, kLanes);
    for (std::uint32_t lane = 1; lane < kLanes; ++lane) {
      add_sums(second, second_pass<T>(plan, at, mean, lane, kLanes));
    }
    write_features<Out>(plan, at, mean, first, second);
  }
}

template <class T>
void run_rows(const SegmentReduceTask& task) {
  const auto units = make_row_units<std::uint32_t>(task.batch, task.segments, task.columns);
  for (std::uint32_t i = 0; i < units.total; ++i) reduce_unit<T, 1, std::uint32_t>(task, units, i);
}

template <class T>
void run_rows(const SegmentGatherTask& task) {
  const auto units = make_row_units<std::uint32_t>(task.batch, task.rows, task.columns);
  for (std::uint32_t i = 0; i < units.total; ++i) gather_unit<T, 1, std::uint32_t>(task, units, i);
}

template <class Task>
void choose_rows(const Task& task, Dtype dtype) {
  if (dtype == Dtype::kF16) return run_rows<Half>(task);
  if (dtype == Dtype::kBF16) return run_rows<BFloat16>(task);
  if (dtype == Dtype::kF32) return run_rows<float>(task);
  run_rows<double>(task);
}

}  // namespace

// Two devices, of which a thread's calls go to the first unless it is told otherwise.
thread_local int current_device = 0;

int current_cuda_device() { return current_device; }

void set_cuda_device(int device) {
  if (device < 0 || device > 1) throw CudaError("cudaSetDevice: cudaErrorInvalidDevice");
  current_device = device;
}

void check_cuda_device(int device) { const OnDevice here(device); }
int cuda_driver_version() { return 0; }
int cuda_toolkit_version() { return 0; }

void extract_cuda(const GridLayout& given, const void* data, void* fragments, const void* pad_value,
                  cudaStream_t) {
  if (is_empty(given)) return;
  const GridLayout layout = counted_in_numbers(given);
  const int unit = extract_unit(layout, data, fragments);
  const int load = extract_row_load(given, unit, data, fragments);
  if (load > 0) {
    const auto plan = make_row_plan(given, load, data, fragments, pad_value);
    if (load == 8) return run_extract_rows<8>(plan);
    if (load == 4) return run_extract_rows<4>(plan);
    if (load == 2) return run_extract_rows<2>(plan);
    return run_extract_rows<1>(plan);
  }
  const auto plan = make_extract_plan<std::uint32_t>(layout, unit, data, fragments, pad_value);
  if (unit == 16) return run_extract<16>(plan);
  if (unit == 8) return run_extract<8>(plan);
  if (unit == 4) return run_extract<4>(plan);
  if (unit == 2) return run_extract<2>(plan);
  run_extract<1>(plan);
}

void merge_cuda(const GridLayout& layout, const GridShape& grid, const DeviceWindow& window,
                Dtype dtype, const void* fragments, void* out, const void* fill, cudaStream_t) {
  bool empty = layout.batch == 0;
  for (int axis = 0; axis < layout.rank; ++axis) {
    empty = empty || layout.axes[axis].grid.length == 0;
  }
  if (empty) return;
  if (window.reduce >= Reduce::kMedian) {
    return order_cuda({layout, grid, window, dtype, fragments, out, fill, nullptr});
  }
  const MergeCall call{layout, grid, window, dtype, fragments, out, fill};
  if (dtype == Dtype::kU8) return choose_merge<std::uint8_t>(call);
  if (dtype == Dtype::kI16) return choose_merge<std::int16_t>(call);
  if (dtype == Dtype::kI32) return choose_merge<std::int32_t>(call);
  if (dtype == Dtype::kI64) return choose_merge<std::int64_t>(call);
  if (dtype == Dtype::kF16) return choose_merge<Half>(call);
  if (dtype == Dtype::kBF16) return choose_merge<BFloat16>(call);
  if (dtype == Dtype::kF32) return choose_merge<float>(call);
  if (dtype == Dtype::kF64) return choose_merge<double>(call);
  throw std::invalid_argument("dtype: not emulated");
}

void features_cuda(const DeviceFeaturePlan& plan, Dtype dtype, cudaStream_t) {
  if (dtype == Dtype::kBool) return run_features<bool, float>(plan);
  if (dtype == Dtype::kI32) return run_features<std::int32_t, float>(plan);
  if (dtype == Dtype::kF16) return run_features<Half, Half>(plan);
  if (dtype == Dtype::kF32) return run_features<float, float>(plan);
  if (dtype == Dtype::kF64) return run_features<double, double>(plan);
  throw std::invalid_argument("dtype: not emulated");
}

void segment_reduce_cuda(const SegmentReduceTask& task, Dtype dtype, cudaStream_t) {
  if (task.batch * task.segments * task.columns > 0) choose_rows(task, dtype);
}

void segment_gather_cuda(const SegmentGatherTask& task, Dtype dtype, cudaStream_t) {
  if (task.batch * task.rows * task.columns > 0) choose_rows(task, dtype);
}

}  // namespace tokfrag
