// The taps of one position on one axis, by arithmetic alone: the windows that hold it, ascending,
// and which of their positions it is. What grid_walk.hpp lists, a thread of the GPU steps through.
#pragma once

#include <cstdint>

#include "core/device/divide.hpp"
#include "fragments/grid/grid.hpp"

namespace tokfrag {

template <class Index>
struct TapAxis {
  Divisor<Index> stride;
  Index count;
  Index last_start;
  Index dilation;
  Index extent;
  Index length;
  Index padded;  // where the last window ends
  Index tail;    // the first window that reaches beyond the length
  PadMode fold;  // kConstant: padded positions are left out; else they count for their source
};

template <class Index>
TapAxis<Index> make_tap_axis(const GridAxis& grid, PadMode fold) {
  TapAxis<Index> axis{};
  set_divisor(axis.stride, grid.stride);
  axis.count = static_cast<Index>(grid.count);
  axis.last_start = static_cast<Index>(grid.count > 0 ? grid.last_start : 0);
  axis.dilation = static_cast<Index>(grid.dilation);
  axis.extent = static_cast<Index>(extent(grid));
  axis.length = static_cast<Index>(grid.length);
  axis.padded = static_cast<Index>(padded_length(grid));
  axis.fold = padded_length(grid) > grid.length ? fold : PadMode::kConstant;
  // Only edge="pad" pads, whose windows all begin at multiples of the stride.
  const std::int64_t inside = grid.length - extent(grid);
  axis.tail = static_cast<Index>(inside < 0 ? 0 : inside / grid.stride + 1);
  return axis;
}

// True if 32-bit numbers hold the axis' positions, and sums of a few of them.
inline bool tap_axis_is_narrow(const GridAxis& grid) {
  return padded_length(grid) + grid.stride + extent(grid) < kNarrowLimit / 2;
}

template <class Index>
TOKFRAG_HOST_DEVICE inline Index window_start(const TapAxis<Index>& axis, Index window) {
  const Index regular = window * axis.stride.value;
  return regular < axis.last_start ? regular : axis.last_start;
}

// The least padded position from `from` on whose source is `position`; the largest Index if none.
template <class Index>
TOKFRAG_HOST_DEVICE inline Index folded_position(const TapAxis<Index>& axis, Index position,
                                                 Index from) {
  const Index none = ~Index{0};
  if (from <= position) return position;
  if (axis.fold == PadMode::kConstant) return none;
  if (axis.fold == PadMode::kReplicate) {
    if (position + 1 != axis.length) return none;
    return from;
  }
  const Index period =
      axis.fold == PadMode::kCircular ? axis.length : (axis.length > 1 ? 2 * (axis.length - 1) : 1);
  // Candidates are position + i * period and, reflected, -position + i * period.
  const Index direct = position + (from - position + period - 1) / period * period;
  if (axis.fold == PadMode::kCircular) return direct;
  const Index mirror = (from + position + period - 1) / period * period - position;
  return direct < mirror ? direct : mirror;
}

// Steps through the taps of one position: begin(), then next() while it is true.
template <class Index>
struct TapCursor {
  Index position;
  Index first;   // window
  Index direct;  // the first window that begins after the position
  Index end;
  Index place;  // the padded position that is held
  // The current tap.
  Index window;
  Index tap;

  TOKFRAG_HOST_DEVICE bool begin(const TapAxis<Index>& axis, Index at) {
    position = at;
    direct = at >= axis.last_start ? axis.count : axis.stride.quotient(at) + 1;
    // Windows that begin after `at` hold no more of it, unless they hold a copy.
    const bool copied =
        axis.fold != PadMode::kConstant && folded_position(axis, at, axis.length) < axis.padded;
    end = copied ? axis.count : direct;
    first = at < axis.extent ? 0 : axis.stride.quotient(at - axis.extent) + 1;
    // The last window may have been moved back to where fewer regular ones would begin.
    if (first >= end && end > 0) first = end - 1;
    return rewind(axis);
  }

  TOKFRAG_HOST_DEVICE bool rewind(const TapAxis<Index>& axis) {
    window = first;
    place = position;
    return settle(axis);
  }

  TOKFRAG_HOST_DEVICE bool next(const TapAxis<Index>& axis) {
    if (is_plain(axis)) {
      ++window;
      place = position;
    } else {
      place = folded_position(axis, position, place + 1);
    }
    return settle(axis);
  }

 private:
  // The current window holds nothing padded.
  TOKFRAG_HOST_DEVICE bool is_plain(const TapAxis<Index>& axis) const {
    return axis.fold == PadMode::kConstant || window < axis.tail;
  }

  // Goes on to the first tap from the current window and place on.
  TOKFRAG_HOST_DEVICE bool settle(const TapAxis<Index>& axis) {
    for (; window < end; ++window) {
      // Between the windows over the position itself and those that are padded, none holds it.
      if (window >= direct && window < axis.tail) {
        window = axis.tail;
        if (window >= end) return false;
      }
      const Index start = window_start(axis, window);
      if (place < start) place = folded_position(axis, position, start);
      while (place < start + axis.extent) {
        const Index offset = place - start;
        tap = axis.dilation == 1 ? offset : offset / axis.dilation;
        if (tap * axis.dilation == offset) return true;
        if (is_plain(axis)) break;
        place = folded_position(axis, position, place + 1);
      }
      place = position;
    }
    return false;
  }
};

}  // namespace tokfrag
