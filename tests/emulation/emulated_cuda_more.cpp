// More kernels of the CUDA module, their threads run on the host one after the other: orders, the
// adjoint of merge, fragments of another type, patches; see emulated_cuda.cpp.
#include <cstdint>
#include <stdexcept>

#include "fragments/cuda_kernels.hpp"
#include "fragments/extract/changed_device.hpp"
#include "fragments/merge/adjoint_device.hpp"
#include "fragments/merge/order_device.hpp"
#include "stream/cuda_kernels.hpp"

namespace tokfrag {

namespace {

// Blocks of kThreads threads, each of which makes `units` units that far apart.
template <class Run>
void every_thread(std::uint64_t total, int units, const Run& run) {
  constexpr std::uint32_t kThreads = 32;
  const auto block_units = static_cast<std::uint32_t>(units) * kThreads;
  for (std::uint64_t block = 0; block < total; block += block_units) {
    for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
      run(static_cast<std::uint32_t>(block) + thread, kThreads);
    }
  }
}

struct RunOrder {
  template <class Order>
  void operator()(const MergeCall& call, Order) const {
    const auto plan = make_order_plan<Order>(call);
    for (typename Order::Index unit = 0; unit < plan.units; ++unit) Order::run(plan, unit);
  }
};

template <class T, int kNumbers>
void run_weigh(const GridLayout& layout, const GridShape& grid, const DeviceWindow& window,
               const void* data, const void* norms, void* fragments) {
  const auto plan = make_weighed_plan<std::uint32_t, AccumulatorOf<T>>(
      layout, grid, window, kNumbers, data, norms, fragments);
  every_thread(plan.units, kWeighedUnits, [&](std::uint32_t first, std::uint32_t step) {
    weigh_units<T, kNumbers, std::uint32_t>(plan, first, step);
  });
}

template <class T>
void choose_weigh(const GridLayout& layout, const GridShape& grid, const DeviceWindow& window,
                  const void* data, const void* norms, void* fragments) {
  constexpr int kWide = kMaxUnit / static_cast<int>(sizeof(T));
  if (weighed_numbers(layout, data, fragments, kWide) == kWide) {
    return run_weigh<T, kWide>(layout, grid, window, data, norms, fragments);
  }
  run_weigh<T, 1>(layout, grid, window, data, norms, fragments);
}

template <class In, class Out, int kNumbers>
void run_changed(const DeviceChangedPlan& plan) {
  every_thread(plan.cut.units, kExtractUnits, [&](std::uint32_t first, std::uint32_t step) {
    extract_changed<In, Out, kNumbers>(plan, first, step);
  });
}

template <class In, class Out>
void choose_changed(const ChangedCall& call) {
  const GridLayout layout = counted_in_numbers(call.layout);
  const int numbers = changed_numbers(layout, sizeof(Out), call.data, call.fragments);
  const auto plan = make_changed_plan(layout, call.change, call.channels, call.below, numbers,
                                      call.data, call.fragments, call.pad_value);
  if (numbers == kChangedWide) return run_changed<In, Out, kChangedWide>(plan);
  run_changed<In, Out, 1>(plan);
}

template <class In>
void choose_changed_in(const ChangedCall& call) {
  if (call.out_dtype == Dtype::kF16) return choose_changed<In, Half>(call);
  if (call.out_dtype == Dtype::kBF16) return choose_changed<In, BFloat16>(call);
  choose_changed<In, float>(call);
}

template <class In, class Out, int kValues>
void run_patches(const PatchTask& task) {
  for (const DevicePatchPlan& plan : make_patch_plans(task, kValues)) {
    every_thread(plan.units, kPatchUnits, [&](std::uint32_t first, std::uint32_t step) {
      patch_units<In, Out, kValues>(plan, first, step);
    });
  }
}

template <class In, class Out>
void choose_patches(const PatchTask& task) {
  const int values = patch_values(task);
  if constexpr (sizeof(Out) <= 2) {
    if (values == 8) return run_patches<In, Out, 8>(task);
  }
  if (values == 4) return run_patches<In, Out, 4>(task);
  run_patches<In, Out, 1>(task);
}

template <class In>
void choose_patches_in(const PatchTask& task) {
  if (task.out_type == Dtype::kF16) return choose_patches<In, Half>(task);
  if (task.out_type == Dtype::kBF16) return choose_patches<In, BFloat16>(task);
  if (task.out_type == Dtype::kF32) return choose_patches<In, float>(task);
  choose_patches<In, std::uint8_t>(task);
}

}  // namespace

void order_cuda(const MergeCall& call) {
  if (call.dtype == Dtype::kU8) return choose_order<std::uint8_t>(call, RunOrder{});
  if (call.dtype == Dtype::kI16) return choose_order<std::int16_t>(call, RunOrder{});
  if (call.dtype == Dtype::kI32) return choose_order<std::int32_t>(call, RunOrder{});
  if (call.dtype == Dtype::kI64) return choose_order<std::int64_t>(call, RunOrder{});
  if (call.dtype == Dtype::kF16) return choose_order<Half>(call, RunOrder{});
  if (call.dtype == Dtype::kBF16) return choose_order<BFloat16>(call, RunOrder{});
  if (call.dtype == Dtype::kF32) return choose_order<float>(call, RunOrder{});
  if (call.dtype == Dtype::kF64) return choose_order<double>(call, RunOrder{});
  throw std::invalid_argument("dtype: not emulated");
}

void weigh_cuda(const GridLayout& layout, const GridShape& grid, const DeviceWindow& window,
                Dtype dtype, const void* data, const void* norms, void* fragments, cudaStream_t) {
  if (is_empty(layout)) return;
  if (dtype == Dtype::kF16) choose_weigh<Half>(layout, grid, window, data, norms, fragments);
  if (dtype == Dtype::kBF16) choose_weigh<BFloat16>(layout, grid, window, data, norms, fragments);
  if (dtype == Dtype::kF32) choose_weigh<float>(layout, grid, window, data, norms, fragments);
  if (dtype == Dtype::kF64) choose_weigh<double>(layout, grid, window, data, norms, fragments);
}

void extract_changed_cuda(const ChangedCall& call) {
  if (is_empty(call.layout)) return;
  if (call.dtype == Dtype::kU8) return choose_changed_in<std::uint8_t>(call);
  if (call.dtype == Dtype::kI16) return choose_changed_in<std::int16_t>(call);
  if (call.dtype == Dtype::kF16) return choose_changed_in<Half>(call);
  if (call.dtype == Dtype::kBF16) return choose_changed_in<BFloat16>(call);
  choose_changed_in<float>(call);
}

void patchify_cuda(const PatchTask& task, cudaStream_t) {
  if (task.type == Dtype::kU8) return choose_patches_in<std::uint8_t>(task);
  choose_patches_in<float>(task);
}

}  // namespace tokfrag
