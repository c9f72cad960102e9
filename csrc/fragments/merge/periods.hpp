// Sums of weights along an axis repeat with the stride, but for a border at each end. Tables of
// them keep the borders and one period, so that their size does not grow with the axis.
#pragma once

#include <cstdint>

#include "fragments/grid/grid.hpp"

namespace tokfrag {

// Of periods first to first + periods, a table holds the first alone.
struct LeftOut {
  std::int64_t first;
  std::int64_t periods;

  // The place of a position in the table.
  std::int64_t entry(std::int64_t position, std::int64_t stride) const {
    const std::int64_t beyond = position / stride - first;
    const std::int64_t skipped = beyond < 0 ? 0 : (beyond < periods ? beyond : periods);
    return position - skipped * stride;
  }
};

// The periods that equal the one before them: no border, and not under the last window, which
// alone may begin at no multiple of the stride.
inline LeftOut equal_periods(const GridAxis& axis) {
  if (axis.count <= 1) return {0, 0};
  const std::int64_t first = (extent(axis) - 1 + axis.stride - 1) / axis.stride;
  const std::int64_t equal = axis.last_start / axis.stride - first;
  return {first, equal > 1 ? equal - 1 : 0};
}

// The axis without these periods: the tables of the shorter axis are those of the longer.
inline GridAxis shortened(GridAxis axis, const LeftOut& left_out) {
  axis.length -= left_out.periods * axis.stride;
  axis.last_start -= left_out.periods * axis.stride;
  axis.count -= left_out.periods;
  return axis;
}

}  // namespace tokfrag
