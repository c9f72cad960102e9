#include "fragments/extract/device.hpp"

#include "fragments/extract/affine_device.hpp"
#include "fragments/extract/rows_device.hpp"

namespace tokfrag {

namespace {

std::int64_t fragment_bytes(const GridLayout& layout) {
  std::int64_t bytes = layout.batch * layout.element;
  for (int axis = 0; axis < layout.rank; ++axis) {
    bytes *= layout.axes[axis].grid.count * layout.axes[axis].grid.size;
  }
  return bytes;
}

// Bytes from the first to behind the last of an array's elements.
std::int64_t data_span(const GridLayout& layout) {
  std::int64_t span = (layout.batch - 1) * layout.data_batch_stride + layout.element;
  for (int axis = 0; axis < layout.rank; ++axis) {
    span += padded_length(layout.axes[axis].grid) * layout.axes[axis].data_stride;
  }
  return span;
}

std::int64_t fragment_span(const GridLayout& layout) {
  std::int64_t span = (layout.batch - 1) * layout.fragment_batch_stride + layout.element;
  for (int axis = 0; axis < layout.rank; ++axis) {
    const LayoutAxis& at = layout.axes[axis];
    span += (at.grid.count - 1) * at.window_stride + (at.grid.size - 1) * at.tap_stride;
  }
  return span;
}

}  // namespace

GridLayout counted_in_numbers(const GridLayout& layout) {
  GridLayout counted = layout;
  LayoutAxis& last = counted.axes[counted.rank - 1];
  const bool side_by_side = last.data_stride == layout.element &&
                            last.tap_stride == layout.element && last.grid.dilation == 1;
  if (!side_by_side || padded_length(last.grid) > last.grid.length) return counted;
  const std::int64_t numbers = layout.element / layout.item;
  counted.element = layout.item;
  last.data_stride = last.tap_stride = layout.item;
  last.grid.length *= numbers;
  last.grid.size *= numbers;
  last.grid.stride *= numbers;
  last.grid.last_start *= numbers;
  return counted;
}

int extract_unit(const GridLayout& layout, const void* data, const void* fragments) {
  UnitChooser chooser;
  chooser.divide(data);
  chooser.divide(fragments);
  if (layout.batch > 1) {
    chooser.divide(layout.data_batch_stride);
    chooser.divide(layout.fragment_batch_stride);
  }
  for (int axis = 0; axis < layout.rank - 1; ++axis) {
    const LayoutAxis& at = layout.axes[axis];
    if (at.grid.length > 1) chooser.divide(at.data_stride);
    if (at.grid.count > 1) chooser.divide(at.window_stride);
    if (at.grid.size > 1) chooser.divide(at.tap_stride);
  }
  const LayoutAxis& last = layout.last();
  if (last.grid.count > 1) chooser.divide(last.window_stride);
  UnitChooser within = chooser;
  within.divide(layout.element);
  if (last.grid.length > 1) within.divide(last.data_stride);
  if (last.grid.size > 1) within.divide(last.tap_stride);

  const bool contiguous = last.data_stride == layout.element && last.tap_stride == layout.element;
  if (!contiguous || last.grid.dilation != 1) return within.unit();
  UnitChooser across = chooser;
  across.divide(last.grid.size * layout.element);
  if (last.grid.count > 1) across.divide(last.grid.stride * layout.element);
  across.divide(last.grid.last_start * layout.element);
  // Units of several positions hold a whole number of them.
  const int unit = across.unit();
  return unit > within.unit() && unit % layout.element == 0 ? unit : within.unit();
}

bool extract_is_narrow(const GridLayout& layout, int unit) {
  const std::int64_t slack = std::int64_t{kExtractUnits} << 16;  // threads past the end
  bool narrow = fragment_bytes(layout) / unit < kNarrowLimit - slack &&
                data_span(layout) / unit < kNarrowLimit &&
                fragment_span(layout) / unit < kNarrowLimit;
  for (int axis = 0; axis < layout.rank; ++axis) {
    const GridAxis& grid = layout.axes[axis].grid;
    narrow = narrow && padded_length(grid) + grid.stride < kNarrowLimit;
  }
  return narrow;
}

template <class Index>
DeviceExtractPlan<Index> make_extract_plan(const GridLayout& layout, int unit, const void* data,
                                           void* fragments, const void* pad_value) {
  DeviceExtractPlan<Index> plan{};
  const std::int64_t covered = layout.element < unit ? unit / layout.element : 1;  // positions
  plan.rank = layout.rank;
  set_divisor(plan.element, covered > 1 ? 1 : layout.element / unit);
  plan.units = static_cast<Index>(fragment_bytes(layout) / unit);
  plan.data_batch_stride = static_cast<Index>(layout.data_batch_stride / unit);
  for (int axis = 0; axis < layout.rank; ++axis) {
    const LayoutAxis& from = layout.axes[axis];
    const std::int64_t step = axis == layout.rank - 1 ? covered : 1;
    ExtractAxis<Index>& to = plan.axes[axis];
    set_divisor(to.count, from.grid.count);
    set_divisor(to.size, from.grid.size / step);
    to.stride = static_cast<Index>(from.grid.count > 1 ? from.grid.stride / step : 0);
    to.last_start = static_cast<Index>(from.grid.last_start / step);
    to.dilation = static_cast<Index>(from.grid.dilation);
    to.length = static_cast<Index>(from.grid.length / step);
    to.data_stride = static_cast<Index>(from.data_stride * step / unit);
  }
  plan.layout = layout;
  plan.taps = 1;
  for (int axis = 0; axis < layout.rank; ++axis) plan.taps *= layout.axes[axis].grid.size;
  for (int i = 0; i < kMaxUnit; ++i) {
    plan.pad.bytes[i] = static_cast<const unsigned char*>(pad_value)[i % layout.item];
  }
  plan.data = static_cast<const char*>(data);
  plan.fragments = static_cast<char*>(fragments);
  return plan;
}

bool extract_is_affine(const GridLayout& layout, int unit) {
  bool affine = extract_is_narrow(layout, unit);
  for (int axis = 0; axis < layout.rank; ++axis) {
    const GridAxis& grid = layout.axes[axis].grid;
    affine = affine && padded_length(grid) <= grid.length &&
             grid.last_start == (grid.count - 1) * grid.stride;
  }
  return affine;
}

DeviceAffinePlan make_affine_plan(const GridLayout& layout, int unit, const void* data,
                                  void* fragments) {
  struct Digit {
    std::int64_t count;
    std::int64_t stride;  // units, in the data
  };
  Digit digits[kMostDigits + 1];
  int found = 0;
  const auto add = [&](std::int64_t count, std::int64_t stride) {
    if (count == 1) return;
    Digit* below = found > 0 ? &digits[found - 1] : nullptr;
    if (below != nullptr && below->stride * below->count == stride) {
      below->count *= count;
    } else {
      digits[found++] = {count, stride};
    }
  };
  const std::int64_t covered = layout.element < unit ? unit / layout.element : 1;  // positions
  if (covered == 1) add(layout.element / unit, 1);
  for (int axis = layout.rank - 1; axis >= 0; --axis) {
    const LayoutAxis& at = layout.axes[axis];
    const std::int64_t step = axis == layout.rank - 1 ? covered : 1;
    add(at.grid.size / step, at.grid.dilation * at.data_stride * step / unit);
  }
  for (int axis = layout.rank - 1; axis >= 0; --axis) {
    const LayoutAxis& at = layout.axes[axis];
    add(at.grid.count, at.grid.stride * at.data_stride / unit);
  }
  add(layout.batch, layout.data_batch_stride / unit);
  if (found == 0) digits[found++] = {1, 0};

  DeviceAffinePlan plan{};
  const Digit& outer = digits[found - 1];
  plan.digits = found - 1;
  plan.inner = 1;
  for (int i = 0; i < plan.digits; ++i) {
    set_divisor(plan.digit[i].count, digits[i].count);
    plan.digit[i].stride = static_cast<std::uint32_t>(digits[i].stride);
    plan.inner *= static_cast<std::uint32_t>(digits[i].count);
  }
  plan.outer = static_cast<std::uint32_t>(outer.count);
  plan.outer_step = (plan.outer + kExtractUnits - 1) / kExtractUnits;
  plan.outer_stride = static_cast<std::uint32_t>(outer.stride);
  plan.data = static_cast<const char*>(data);
  plan.fragments = static_cast<char*>(fragments);
  return plan;
}

int extract_row_load(const GridLayout& layout, int unit, const void* data, const void* fragments) {
  const LayoutAxis& last = layout.last();
  const bool contiguous = last.data_stride == layout.element && last.tap_stride == layout.element;
  UnitChooser to;
  to.divide(fragments);
  to.divide(fragment_bytes(layout));
  if (unit == kMaxUnit || !contiguous || last.grid.dilation != 1 || to.unit() < kMaxUnit) return 0;
  const std::int64_t row = last.grid.size * layout.element;
  UnitChooser from;
  from.divide(data);
  from.divide(row);
  if (layout.batch > 1) from.divide(layout.data_batch_stride);
  for (int axis = 0; axis < layout.rank - 1; ++axis) {
    const LayoutAxis& at = layout.axes[axis];
    if (at.grid.length > 1) from.divide(at.data_stride);
  }
  if (last.grid.count > 1) from.divide(last.grid.stride * layout.element);
  from.divide(last.grid.last_start * layout.element);
  const int load = from.unit() == kMaxUnit ? kMaxUnit / 2 : from.unit();
  return row >= kMaxUnit - load && extract_is_narrow(layout, load) ? load : 0;
}

DeviceRowPlan<std::uint32_t> make_row_plan(const GridLayout& layout, int load, const void* data,
                                           void* fragments, const void* pad_value) {
  using Index = std::uint32_t;
  const auto plan = make_extract_plan<Index>(layout, 1, data, fragments, pad_value);
  DeviceRowPlan<Index> made{};
  made.rank = layout.rank;
  made.stores = static_cast<Index>(fragment_bytes(layout) / kMaxUnit);
  set_divisor(made.row, layout.last().grid.size * layout.element / load);
  made.data_batch_stride = static_cast<Index>(layout.data_batch_stride / load);
  for (int axis = 0; axis < layout.rank; ++axis) {
    const LayoutAxis& from = layout.axes[axis];
    ExtractAxis<Index>& to = made.axes[axis];
    const bool innermost = axis == layout.rank - 1;
    const std::int64_t element = innermost ? layout.element : 1;
    const std::int64_t step = innermost ? load : 1;
    set_divisor(to.count, from.grid.count);
    set_divisor(to.size, from.grid.size);
    to.stride = static_cast<Index>(from.grid.count > 1 ? from.grid.stride * element / step : 0);
    to.last_start = static_cast<Index>(from.grid.last_start * element / step);
    to.dilation = static_cast<Index>(from.grid.dilation);
    to.length = static_cast<Index>(from.grid.length * element / step);
    to.data_stride = innermost ? 1 : static_cast<Index>(from.data_stride / load);
  }
  made.layout = plan.layout;
  made.taps = plan.taps;
  made.pad = plan.pad;
  made.data = plan.data;
  made.fragments = plan.fragments;
  return made;
}

template DeviceExtractPlan<std::uint32_t> make_extract_plan(const GridLayout&, int, const void*,
                                                            void*, const void*);
template DeviceExtractPlan<std::uint64_t> make_extract_plan(const GridLayout&, int, const void*,
                                                            void*, const void*);

}  // namespace tokfrag
