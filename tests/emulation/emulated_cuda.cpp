// The kernels that csrc/bindings/cuda_module.cpp calls, their threads run on the host one after the
// other: with it, tests/fragments/test_cuda_emulated.py tries all of the CUDA path but the device
// itself.
#include <stdexcept>
#include <vector>

#include "fragments/cuda_kernels.hpp"
#include "fragments/extract/affine_device.hpp"
#include "fragments/extract/device.hpp"
#include "fragments/extract/rows_device.hpp"
#include "fragments/features/staged_device.hpp"
#include "fragments/merge/choice_device.hpp"

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

template <int kBytes>
void run_affine(const DeviceAffinePlan& plan) {
  for (std::uint32_t i = 0; i < plan.threads(); ++i) extract_affine<kBytes>(plan, i);
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

struct RunMerge {
  template <class Merge>
  void operator()(const MergeCall& call, Merge) const {
    const typename Merge::Plan plan = plan_of<Merge>(call);
    for (typename Merge::Index unit = 0; unit < plan.units; ++unit) Merge::run(plan, unit);
  }
};

// Steps between two barriers, lane after lane.
template <class T, class Out>
void run_staged(const DeviceFeaturePlan& plan) {
  const std::uint32_t lanes = plan.values + plan.tail > kWarpStaged ? 256 : 32;
  std::vector<float> data(plan.values + plan.tail);
  const auto items = static_cast<std::uint32_t>(plan.batch * plan.windows * plan.channels);
  for (std::uint32_t item = 0; item < items; ++item) {
    const FeatureWindow at = find_window(plan, item);
    StagedFirst first = stage_window<T>(plan, at, data.data(), 0, lanes);
    for (std::uint32_t lane = 1; lane < lanes; ++lane) {
      add_sums(first, stage_window<T>(plan, at, data.data(), lane, lanes));
    }
    float lift = 1;
    if (overflows(first)) {
      lift = kSumLift;
      first.sum = {0, 0};
      for (std::uint32_t lane = 0; lane < lanes; ++lane) {
        first.sum = first.sum + lifted_sum(plan, data.data(), lane, lanes);
      }
    }
    const StagedCenter center = center_of(plan, first, lift);
    std::vector<float> differences(lanes);
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      differences[lane] = staged_differences(plan, center, data.data(), lane, lanes);
    }
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      center_values(plan, center, data.data(), lane, lanes);
    }
    StagedSecond second{};
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      add_sums(second, staged_sums(plan, data.data(), differences[lane], lane, lanes));
    }
    for (int lane = 0; lane < kStagedSums; ++lane) {
      write_staged<Out>(plan, at, first, center, lane, second.sums[lane], second.sums[kSquares]);
    }
  }
}

template <class T, class Out>
void run_features(DeviceFeaturePlan plan) {
  if constexpr (kIsStaged<T>) {
    if (prepare_staged(plan)) return run_staged<T, Out>(plan);
  }
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
  for (std::int64_t slot = 0;
       task.partial != nullptr && slot < segment_slots(task.batch * task.rows); ++slot) {
    for (std::int64_t unit = 0; unit < task.columns; ++unit) share_unit<T, 1>(task, slot, unit);
  }
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
bool adds_doubles_slowly(int device) { return device == 1; }
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
  if (extract_is_affine(layout, unit)) {
    const DeviceAffinePlan plan = make_affine_plan(layout, unit, data, fragments);
    if (unit == 16) return run_affine<16>(plan);
    if (unit == 8) return run_affine<8>(plan);
    if (unit == 4) return run_affine<4>(plan);
    if (unit == 2) return run_affine<2>(plan);
    return run_affine<1>(plan);
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
  const MergeCall call{layout, grid, window, dtype, fragments, out, fill, nullptr};
  if (dtype == Dtype::kU8) return choose_merge<std::uint8_t>(call, RunMerge{});
  if (dtype == Dtype::kI16) return choose_merge<std::int16_t>(call, RunMerge{});
  if (dtype == Dtype::kI32) return choose_merge<std::int32_t>(call, RunMerge{});
  if (dtype == Dtype::kI64) return choose_merge<std::int64_t>(call, RunMerge{});
  if (dtype == Dtype::kF16) return choose_merge<Half>(call, RunMerge{});
  if (dtype == Dtype::kBF16) return choose_merge<BFloat16>(call, RunMerge{});
  if (dtype == Dtype::kF32) return choose_merge<float>(call, RunMerge{});
  if (dtype == Dtype::kF64) return choose_merge<double>(call, RunMerge{});
  throw std::invalid_argument("dtype: not emulated");
}

void features_cuda(const DeviceFeaturePlan& plan, Dtype dtype, cudaStream_t) {
  if (dtype == Dtype::kBool) return run_features<bool, float>(plan);
  if (dtype == Dtype::kI32) return run_features<std::int32_t, float>(plan);
  if (dtype == Dtype::kU8) return run_features<std::uint8_t, float>(plan);
  if (dtype == Dtype::kF16) return run_features<Half, Half>(plan);
  if (dtype == Dtype::kBF16) return run_features<BFloat16, BFloat16>(plan);
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
