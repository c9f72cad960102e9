#include "fragments/merge/device.hpp"

namespace tokfrag {

namespace {

// Sums over an axis that windows take whole, or that is not the grid's, have one summand.
bool is_plain(const LayoutAxis& axis, const DeviceWindow& window) {
  const GridAxis& grid = axis.grid;
  const bool whole = grid.count == 1 && grid.size == grid.length && grid.dilation == 1;
  if (axis.source < 0) return true;
  return whole && window.whole == nullptr && window.weights[axis.source] == nullptr;
}

bool is_folded(const GridLayout& layout, const DeviceWindow& window, const GridAxis& grid) {
  return window.reduce == Reduce::kSum && layout.pad_mode != PadMode::kConstant &&
         padded_length(grid) > grid.length;
}

std::int64_t output_numbers(const GridLayout& layout) {
  std::int64_t numbers = layout.batch * layout.element / layout.item;
  for (int axis = 0; axis < layout.rank; ++axis) numbers *= layout.axes[axis].grid.length;
  return numbers;
}

}  // namespace

DeviceMergeMethod choose_merge_method(const DeviceWindow& window, Dtype dtype) {
  if (window.reduce >= Reduce::kMax) return DeviceMergeMethod::kExtreme;
  if (window.whole != nullptr) return DeviceMergeMethod::kWhole;
  const bool exact = dtype == Dtype::kF64 && window.reduce == Reduce::kMean && window.uniform;
  return exact ? DeviceMergeMethod::kExact : DeviceMergeMethod::kScaled;
}

int merge_numbers(const GridLayout& layout, const DeviceWindow& window, const void* fragments,
                  const void* out, int wide) {
  UnitChooser chooser;
  chooser.divide(fragments);
  chooser.divide(out);
  if (layout.batch > 1) chooser.divide(layout.fragment_batch_stride);
  for (int axis = 0; axis < layout.rank; ++axis) {
    const LayoutAxis& at = layout.axes[axis];
    if (at.grid.count > 1) chooser.divide(at.window_stride);
    if (axis < layout.rank - 1 && at.grid.size > 1) chooser.divide(at.tap_stride);
  }
  const LayoutAxis& last = layout.last();
  UnitChooser within = chooser;
  within.divide(layout.element);
  if (last.grid.size > 1) within.divide(last.tap_stride);
  const std::int64_t bytes = wide * layout.item;
  if (within.unit() >= bytes) return wide;

  const bool rows = layout.element == layout.item && last.tap_stride == layout.item &&
                    last.grid.dilation == 1 && !is_folded(layout, window, last.grid);
  if (!rows) return 1;
  UnitChooser across = chooser;
  across.divide(last.grid.length * layout.item);
  across.divide(last.grid.size * layout.item);
  if (last.grid.count > 1) across.divide(last.grid.stride * layout.item);
  across.divide(last.grid.last_start * layout.item);
  return across.unit() >= bytes ? wide : 1;
}

bool merge_is_narrow(const GridLayout& layout) {
  bool narrow = output_numbers(layout) < kNarrowLimit - (std::int64_t{1} << 16);
  for (int axis = 0; axis < layout.rank; ++axis) {
    narrow = narrow && tap_axis_is_narrow(layout.axes[axis].grid);
  }
  return narrow;
}

bool merge_is_plain(const GridLayout& layout, const DeviceWindow& window) {
  bool plain = true;
  std::int64_t span = (layout.batch - 1) * layout.fragment_batch_stride + layout.element;
  for (int axis = 0; axis < layout.rank; ++axis) {
    const LayoutAxis& at = layout.axes[axis];
    plain = plain && at.grid.dilation == 1 && !is_folded(layout, window, at.grid);
    span += (at.grid.count - 1) * at.window_stride + (at.grid.size - 1) * at.tap_stride;
  }
  return plain && span / layout.item < kNarrowLimit;
}

int merge_outer_axes(const GridLayout& layout, const DeviceWindow& window) {
  int outer = 0;
  for (int axis = 0; axis < layout.rank - 1; ++axis) {
    if (!is_plain(layout.axes[axis], window)) ++outer;
  }
  return outer;
}

template <class Index, class Accumulator>
DeviceMergePlan<Index, Accumulator> make_merge_plan(const GridLayout& layout, const GridShape& grid,
                                                    const DeviceWindow& window, Dtype dtype,
                                                    int numbers, const void* fragments, void* out,
                                                    const void* fill) {
  DeviceMergePlan<Index, Accumulator> plan{};
  const std::int64_t width = layout.element / layout.item;
  plan.units = static_cast<Index>(output_numbers(layout) / numbers);
  plan.method = choose_merge_method(window, dtype);
  plan.spread = width % numbers != 0;
  plan.mean = window.reduce == Reduce::kMean;
  plan.least = window.reduce == Reduce::kMin;
  plan.vote = window.reduce == Reduce::kVote;
  plan.divides = dtype <= Dtype::kI64;
  const auto table = [&](const void* doubles) {
    if constexpr (std::is_same_v<Accumulator, Pair>) {
      if (doubles == nullptr) return static_cast<const Pair*>(nullptr);
      return reinterpret_cast<const Pair*>(static_cast<const char*>(doubles) + window.pairs);
    } else {
      return static_cast<const Accumulator*>(doubles);
    }
  };
  plan.whole = table(window.whole);
  plan.fragments = static_cast<const char*>(fragments);
  plan.out = static_cast<char*>(out);
  for (int i = 0; i < kMaxUnit; ++i) {
    plan.fill.bytes[i] = static_cast<const unsigned char*>(fill)[i % layout.item];
  }

  // Where the whole-window weights of each axis of the grid lie.
  std::int64_t whole_taps[kMaxAxes];
  std::int64_t whole_windows[kMaxAxes];
  std::int64_t step = 1;
  for (int axis = grid.rank - 1; axis >= 0; --axis) {
    whole_taps[axis] = window.constant ? 0 : step;
    if (!window.constant) step *= grid.axes[axis].size;
  }
  for (int axis = grid.rank - 1; axis >= 0; --axis) {
    whole_windows[axis] = window.per_fragment ? step : 0;
    step *= grid.axes[axis].count;
  }

  const auto add_plain = [&](std::int64_t below, std::int64_t length, std::int64_t stride) {
    if (length <= 1) return;
    PlainAxis<Index>& axis = plan.plains[plan.plain++];
    set_divisor(axis.below, below);
    set_divisor(axis.length, length);
    axis.stride = stride;
  };
  std::int64_t below = plan.spread ? 1 : width / numbers;
  add_plain(1, below, numbers);
  const PadMode fold = window.reduce == Reduce::kSum ? layout.pad_mode : PadMode::kConstant;
  const int outer = merge_outer_axes(layout, window);
  plan.outer = outer;
  int slot = outer;
  for (int axis = layout.rank - 1; axis >= 0; --axis) {
    const LayoutAxis& from = layout.axes[axis];
    const bool innermost = axis == layout.rank - 1;
    const std::int64_t length =
        innermost && plan.spread ? from.grid.length / numbers : from.grid.length;
    if (!innermost && is_plain(from, window)) {
      add_plain(below, length, from.tap_stride / layout.item);
    } else {
      WindowedAxis<Index, Accumulator>& to = innermost ? plan.last : plan.outers[--slot];
      set_divisor(to.below, below);
      set_divisor(to.length, length);
      to.taps = make_tap_axis<Index>(from.grid, fold);
      to.window_stride = from.window_stride / layout.item;
      to.tap_stride = from.tap_stride / layout.item;
      if (from.source >= 0) {
        to.whole_window = whole_windows[from.source];
        to.whole_tap = whole_taps[from.source];
        to.weights = table(window.weights[from.source]);
        to.inverse = table(window.inverse[from.source]);
        to.sums = table(window.sums[from.source]);
        to.first_period = static_cast<Index>(window.left_out[from.source].first);
        to.left_out = static_cast<Index>(window.left_out[from.source].periods);
      }
      const bool scaled_late = innermost || to.weights == nullptr;
      const Accumulator* factors = plan.divides ? to.sums : to.inverse;
      plan.scales = plan.scales || (plan.mean && scaled_late && factors != nullptr);
    }
    below *= length;
  }
  add_plain(below, layout.batch, layout.fragment_batch_stride / layout.item);
  return plan;
}

TOKFRAG_MERGE_PLAN(std::uint32_t, float);
TOKFRAG_MERGE_PLAN(std::uint64_t, float);
TOKFRAG_MERGE_PLAN(std::uint32_t, double);
TOKFRAG_MERGE_PLAN(std::uint64_t, double);
TOKFRAG_MERGE_PLAN(std::uint32_t, Pair);

}  // namespace tokfrag
