#include "fragments/merge/plan.hpp"

#include <algorithm>
#include <cstring>

namespace tokfrag {

WholeSteps whole_steps(const GridLayout& layout, const GridShape& grid, const MergeWindow& window) {
  WholeSteps result;
  if (window.whole.empty()) return result;
  std::int64_t taps[kMaxAxes];
  std::int64_t windows[kMaxAxes];
  std::int64_t step = 1;
  for (int axis = grid.rank - 1; axis >= 0; --axis) {
    taps[axis] = window.constant ? 0 : step;
    if (!window.constant) step *= grid.axes[axis].size;
  }
  for (int axis = grid.rank - 1; axis >= 0; --axis) {
    windows[axis] = window.per_fragment ? step : 0;
    step *= grid.axes[axis].count;
  }
  for (int axis = 0; axis < layout.rank; ++axis) {
    const int source = layout.axes[axis].source;
    result.taps[axis] = source < 0 ? 0 : taps[source];
    result.windows[axis] = source < 0 ? 0 : windows[source];
  }
  return result;
}

void PlaceFinder::enter(const Odometer& rows, int moved) {
  const int last = rows.axes - 1;
  if (last < 0) return;
  if (moved == last && slide(last, rows.position[last])) return;
  for (int axis = moved; axis < rows.axes; ++axis) {
    find_axis(axis, rows.position[axis]);
    count_windows(axis, rows.position[axis]);
    const Level& outer = axis == 0 ? base_ : levels_[axis - 1];
    Level& level = levels_[axis];
    level.places.clear();
    for (const Place& from : outer.places) {
      for (const Place& to : axis_places_) {
        level.places.push_back(
            {from.offset + to.offset, from.weight * to.weight, from.whole + to.whole});
      }
    }
  }
  entered_ = &levels_[last];
}

// What the unweighted axes' window counts come to, up to this axis.
void PlaceFinder::count_windows(int axis, std::int64_t position) {
  const Level& outer = axis == 0 ? base_ : levels_[axis - 1];
  Level& level = levels_[axis];
  level.inverse = outer.inverse;
  level.divisor = outer.divisor;
  const AxisWindow* own = plan_.axis_window(axis);
  const bool inside = position < plan_.layout.axes[axis].grid.length;
  if (own != nullptr && own->weights.empty() && !own->inverse.empty() && inside) {
    level.inverse *= own->inverse[static_cast<std::size_t>(position)];
    level.divisor *= own->sums[static_cast<std::size_t>(position)];
  }
}

void PlaceFinder::find_axis(int axis, std::int64_t position) {
  const LayoutAxis& at = plan_.layout.axes[axis];
  taps_.clear();
  position_ = alike_end_ = position;
  if (plan_.fold) {
    append_folded_taps(at.grid, plan_.layout.pad_mode, position, taps_);
  } else {
    append_taps(at.grid, position, taps_);
    if (at.grid.dilation == 1 && !taps_.empty()) {
      const std::int64_t next = taps_.back().window + 1;
      alike_end_ = window_start(at.grid, taps_.front().window) + at.grid.size;
      if (next < at.grid.count) alike_end_ = std::min(alike_end_, window_start(at.grid, next));
      if (position < at.grid.length) alike_end_ = std::min(alike_end_, at.grid.length);
    }
  }
  axis_places_.clear();
  for (const Tap& tap : taps_) {
    axis_places_.push_back(
        {tap.window * at.window_stride + tap.index * at.tap_stride, weight_of(axis, tap, position),
         tap.window * plan_.whole.windows[axis] + tap.index * plan_.whole.taps[axis]});
  }
}

double PlaceFinder::weight_of(int axis, const Tap& tap, std::int64_t position) const {
  const AxisWindow* own = plan_.axis_window(axis);
  if (own == nullptr || own->weights.empty()) return 1.0;
  const double weight = own->weights[static_cast<std::size_t>(tap.index)];
  const bool normalised = !own->inverse.empty() && position < plan_.layout.axes[axis].grid.length;
  return normalised ? weight * own->inverse[static_cast<std::size_t>(position)] : weight;
}

// Enters a later row that the same windows hold, by additions; false if they are others.
bool PlaceFinder::slide(int axis, std::int64_t position) {
  const std::int64_t steps = position - position_;
  if (steps <= 0 || position >= alike_end_) return false;
  position_ = position;
  const LayoutAxis& at = plan_.layout.axes[axis];
  const Level& outer = axis == 0 ? base_ : levels_[axis - 1];
  const AxisWindow* own = plan_.axis_window(axis);
  const bool weighted = own != nullptr && !own->weights.empty();
  for (Tap& tap : taps_) tap.index += steps;
  std::size_t entry = 0;
  for (const Place& from : outer.places) {
    for (const Tap& tap : taps_) {
      Place& place = levels_[axis].places[entry++];
      place.offset += steps * at.tap_stride;
      place.whole += steps * plan_.whole.taps[axis];
      if (weighted) place.weight = from.weight * weight_of(axis, tap, position);
    }
  }
  count_windows(axis, position);
  return true;
}

void PlaceFinder::append_weights(const Odometer& rows, std::int64_t count,
                                 std::vector<double>& weights) const {
  const int inner = rows.axes - 1;
  const AxisWindow* own = inner < 0 ? nullptr : plan_.axis_window(inner);
  if (own == nullptr || own->weights.empty()) {
    for (std::int64_t row = 0; row < count; ++row) {
      for (const Place& place : entered_->places) weights.push_back(place.weight);
    }
    return;
  }
  const Level& outer = inner == 0 ? base_ : levels_[inner - 1];
  const bool normalised = !own->inverse.empty();
  for (std::int64_t row = 0; row < count; ++row) {
    const std::int64_t position = rows.position[inner] + row;
    const double inverse = normalised && position < plan_.layout.axes[inner].grid.length
                               ? own->inverse[static_cast<std::size_t>(position)]
                               : 1.0;
    for (const Place& from : outer.places) {
      for (const Tap& tap : taps_) {
        const double weight = own->weights[static_cast<std::size_t>(tap.index + row)];
        weights.push_back(from.weight * (weight * inverse));
      }
    }
  }
}

void fill_value(char* to, std::int64_t bytes, const char* value, std::int64_t item) {
  for (std::int64_t at = 0; at < bytes; at += item) {
    std::memcpy(to + at, value, static_cast<std::size_t>(item));
  }
}

}  // namespace tokfrag
