// Walking over the positions of a layout's outer axes (all but the innermost), and finding where in
// the fragments a position lies: its taps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "fragments/grid/layout.hpp"

namespace tokfrag {

// A window that holds a position, and which of the window's positions that is.
struct Tap {
  std::int64_t window;
  std::int64_t index;
};

// Appends the taps of a position of the padded axis, windows ascending.
inline void append_taps(const GridAxis& axis, std::int64_t position, std::vector<Tap>& taps) {
  const WindowRange range = windows_over(axis, position);
  for (std::int64_t window = range.first; window <= range.last; ++window) {
    const std::int64_t offset = position - window_start(axis, window);
    if (axis.dilation == 1) {
      taps.push_back({window, offset});
    } else if (offset % axis.dilation == 0) {
      taps.push_back({window, offset / axis.dilation});
    }
  }
}

// The same for every position of the padded axis whose source is `position`.
inline void append_folded_taps(const GridAxis& axis, PadMode mode, std::int64_t position,
                               std::vector<Tap>& taps) {
  append_taps(axis, position, taps);
  if (mode == PadMode::kConstant) return;
  const std::int64_t end = padded_length(axis);
  bool folded = false;
  for (std::int64_t padded = axis.length; padded < end; ++padded) {
    if (source_position(axis.length, mode, padded) != position) continue;
    append_taps(axis, padded, taps);
    folded = true;
  }
  if (!folded) return;
  std::sort(taps.begin(), taps.end(), [](const Tap& a, const Tap& b) {
    return a.window != b.window ? a.window < b.window : a.index < b.index;
  });
}

// Counts through positions of several axes, the last one fastest.
struct Odometer {
  int axes = 0;
  std::int64_t length[kMaxLayoutAxes] = {};
  std::int64_t position[kMaxLayoutAxes] = {};

  std::int64_t total() const {
    std::int64_t product = 1;
    for (int axis = 0; axis < axes; ++axis) product *= length[axis];
    return product;
  }

  void seek(std::int64_t index) {
    for (int axis = axes - 1; axis >= 0; --axis) {
      position[axis] = index % length[axis];
      index /= length[axis];
    }
  }

  // Steps on; returns the outermost axis that moved, or -1 at the end (all positions zero again).
  int advance() {
    for (int axis = axes - 1; axis >= 0; --axis) {
      if (++position[axis] < length[axis]) return axis;
      position[axis] = 0;
    }
    return -1;
  }
};

}  // namespace tokfrag
