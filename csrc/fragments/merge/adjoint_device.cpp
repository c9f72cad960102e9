#include "fragments/merge/adjoint_device.hpp"

#include "fragments/extract/device.hpp"

namespace tokfrag {

int weighed_numbers(const GridLayout& layout, const void* data, const void* fragments, int wide) {
  const std::int64_t width = layout.element / layout.item;
  if (width != 1 && width % wide != 0) return 1;  // a unit lies in one position, or is one a number
  return extract_unit(layout, data, fragments) >= wide * layout.item ? wide : 1;
}

template <class Index, class Accumulator>
DeviceWeighedPlan<Index, Accumulator> make_weighed_plan(const GridLayout& layout,
                                                        const GridShape& grid,
                                                        const DeviceWindow& window, int numbers,
                                                        const void* data, const void* norms,
                                                        void* fragments) {
  DeviceWeighedPlan<Index, Accumulator> plan{};
  const std::int64_t width = layout.element / layout.item;
  const bool mean = window.reduce == Reduce::kMean;
  plan.rank = layout.rank;
  plan.spread = width % numbers != 0;
  plan.fold = mean ? PadMode::kConstant : layout.pad_mode;
  set_divisor(plan.element, plan.spread ? 1 : width / numbers);
  plan.data_batch_stride = layout.data_batch_stride / layout.item;
  plan.whole = static_cast<const Accumulator*>(window.whole);
  // Weights of windows that lie apart are left out: under a mean they cancel.
  plan.norms = mean && plan.whole != nullptr ? static_cast<const Accumulator*>(norms) : nullptr;
  plan.data = static_cast<const char*>(data);
  plan.fragments = static_cast<char*>(fragments);

  // Where the whole-window weights and the norms of each axis of the grid lie.
  std::int64_t whole_taps[kMaxAxes];
  std::int64_t whole_windows[kMaxAxes];
  std::int64_t norm_strides[kMaxAxes];
  std::int64_t step = 1;
  std::int64_t norm = 1;
  for (int axis = grid.rank - 1; axis >= 0; --axis) {
    whole_taps[axis] = window.constant ? 0 : step;
    if (!window.constant) step *= grid.axes[axis].size;
    norm_strides[axis] = norm;
    norm *= grid.axes[axis].length;
  }
  for (int axis = grid.rank - 1; axis >= 0; --axis) {
    whole_windows[axis] = window.per_fragment ? step : 0;
    step *= grid.axes[axis].count;
  }

  std::int64_t units = layout.batch * width;
  for (int axis = 0; axis < layout.rank; ++axis) {
    const LayoutAxis& from = layout.axes[axis];
    WeighedAxis<Index, Accumulator>& to = plan.axes[axis];
    const bool spread = plan.spread && axis == layout.rank - 1;
    units *= from.grid.count * from.grid.size;
    set_divisor(to.count, from.grid.count);
    set_divisor(to.size, from.grid.size / (spread ? numbers : 1));
    set_divisor(to.stride, from.grid.stride);
    to.last_start = static_cast<Index>(from.grid.last_start);
    to.dilation = static_cast<Index>(from.grid.dilation);
    to.length = static_cast<Index>(from.grid.length);
    to.data_stride = from.data_stride / layout.item;
    if (from.source < 0) continue;
    to.whole_window = whole_windows[from.source];
    to.whole_tap = whole_taps[from.source];
    to.norm_stride = norm_strides[from.source];
    to.weights = static_cast<const Accumulator*>(window.weights[from.source]);
    to.inverse = mean ? static_cast<const Accumulator*>(window.inverse[from.source]) : nullptr;
    to.first_period = static_cast<Index>(window.left_out[from.source].first);
    to.left_out = static_cast<Index>(window.left_out[from.source].periods);
  }
  plan.units = static_cast<Index>(units / numbers);
  return plan;
}

template DeviceWeighedPlan<std::uint32_t, float> make_weighed_plan(const GridLayout&,
                                                                   const GridShape&,
                                                                   const DeviceWindow&, int,
                                                                   const void*, const void*, void*);
template DeviceWeighedPlan<std::uint64_t, float> make_weighed_plan(const GridLayout&,
                                                                   const GridShape&,
                                                                   const DeviceWindow&, int,
                                                                   const void*, const void*, void*);
template DeviceWeighedPlan<std::uint32_t, double> make_weighed_plan(
    const GridLayout&, const GridShape&, const DeviceWindow&, int, const void*, const void*, void*);
template DeviceWeighedPlan<std::uint64_t, double> make_weighed_plan(
    const GridLayout&, const GridShape&, const DeviceWindow&, int, const void*, const void*, void*);

}  // namespace tokfrag
