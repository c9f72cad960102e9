#include "fragments/extract/changed_device.hpp"

namespace tokfrag {

int changed_numbers(const GridLayout& layout, std::int64_t out_item, const void* data,
                    const void* fragments) {
  // The fragments' strides are those of numbers as they are read; the array is of another type.
  const int unit = extract_unit(layout, data, nullptr);
  UnitChooser to;
  to.divide(fragments);
  const auto item = static_cast<int>(layout.item);
  if (!extract_is_narrow(layout, 1)) return 0;
  const bool wide = unit >= kChangedWide * item && to.unit() >= kChangedWide * out_item;
  return wide ? kChangedWide : 1;
}

DeviceChangedPlan make_changed_plan(const GridLayout& layout, const ChannelChange& change,
                                    std::int64_t channels, std::int64_t below, int numbers,
                                    const void* data, void* fragments, const void* pad_value) {
  DeviceChangedPlan plan{};
  const auto unit = static_cast<int>(numbers * layout.item);
  plan.cut = make_extract_plan<std::uint32_t>(layout, unit, data, fragments, pad_value);
  plan.change = change;
  set_divisor(plan.below, below);
  set_divisor(plan.channels, channels);
  return plan;
}

}  // namespace tokfrag
