#include "fragments/merge_plan.hpp"

#include <cstring>

namespace tokfrag {

void PlaceFinder::enter(const Odometer& rows, int moved) {
  for (int axis = moved; axis < rows.axes; ++axis) {
    const LayoutAxis& at = plan_.layout.axes[axis];
    const std::int64_t position = rows.position[axis];
    taps_.clear();
    if (plan_.fold) {
      append_folded_taps(at.grid, plan_.layout.pad_mode, position, taps_);
    } else {
      append_taps(at.grid, position, taps_);
    }
    const AxisWindow* own = plan_.axis_window(axis);
    axis_places_[axis].clear();
    for (const Tap& tap : taps_) {
      double weight = 1.0;
      if (own != nullptr && !own->weights.empty()) {
        weight = own->weights[static_cast<std::size_t>(tap.index)];
        if (!own->inverse.empty()) weight *= own->inverse[static_cast<std::size_t>(position)];
      }
      axis_places_[axis].push_back(
          {tap.window * at.window_stride + tap.index * at.tap_stride, weight,
           tap.window * plan_.whole_windows[axis] + tap.index * plan_.whole_steps[axis]});
    }
  }
  places_.assign(1, {0, 1.0, 0});
  inverse_ = 1.0;
  divisor_ = 1.0;
  for (int axis = 0; axis < rows.axes; ++axis) {
    const AxisWindow* own = plan_.axis_window(axis);
    if (own != nullptr && own->weights.empty() && !own->inverse.empty()) {
      const auto position = static_cast<std::size_t>(rows.position[axis]);
      inverse_ *= own->inverse[position];
      divisor_ *= own->sums[position];
    }
    product_.clear();
    for (const Place& outer : places_) {
      for (const Place& inner : axis_places_[axis]) {
        product_.push_back(
            {outer.offset + inner.offset, outer.weight * inner.weight, outer.whole + inner.whole});
      }
    }
    places_.swap(product_);
  }
}

void fill_value(char* to, std::int64_t bytes, const char* value, std::int64_t item) {
  for (std::int64_t at = 0; at < bytes; at += item) {
    std::memcpy(to + at, value, static_cast<std::size_t>(item));
  }
}

}  // namespace tokfrag
