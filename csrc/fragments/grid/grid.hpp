// The arithmetic of fragment grids, shared by the CPU kernels and the CUDA ones.
//
// On an axis of `length`, window i holds the positions start(i) + dilation * k, k in [0, size),
// with start(i) = min(i * stride, last_start): regular starts, but for a last window that
// edge="shift" may have moved back. Padding follows the axis; a padded position has a source inside
// it, or none (kNoSource) where the pad value is written.
//
// Plain structures and inline functions: no allocation, no exception, includable from .cu files.
#pragma once

#include <cstdint>

#include "core/cuda.hpp"

namespace tokfrag {

enum class Edge : std::int32_t { kPad, kDrop, kShift };
enum class PadMode : std::int32_t { kConstant, kReflect, kReplicate, kCircular };

constexpr int kMaxAxes = 4;
constexpr std::int64_t kNoSource = -1;

struct GridAxis {
  std::int64_t length;
  std::int64_t size;
  std::int64_t stride;
  std::int64_t dilation;
  std::int64_t count;       // windows; 0 on an empty axis
  std::int64_t last_start;  // of window count - 1
};

// The axes of a grid, outermost first.
struct GridShape {
  int rank;
  PadMode pad_mode;
  GridAxis axes[kMaxAxes];
};

// Windows [first, last] whose span holds a position; none if first > last.
struct WindowRange {
  std::int64_t first;
  std::int64_t last;
};

// Positions a window reaches over.
TOKFRAG_HOST_DEVICE inline std::int64_t extent(const GridAxis& axis) {
  return axis.dilation * (axis.size - 1) + 1;
}

// The axis with everything derived; `length`, `size`, `stride`, `dilation` as checked in Python.
TOKFRAG_HOST_DEVICE inline GridAxis make_axis(std::int64_t length, std::int64_t size,
                                              std::int64_t stride, std::int64_t dilation,
                                              Edge edge) {
  GridAxis axis{length, size, stride, dilation, 0, 0};
  if (length == 0) return axis;
  const std::int64_t slack = length - extent(axis);  // negative: the window is longer than the axis
  if (edge == Edge::kDrop) {
    axis.count = slack < 0 ? 0 : slack / stride + 1;
  } else {
    axis.count = slack <= 0 ? 1 : (slack - 1) / stride + 2;
    const std::int64_t begin_on_axis = (length - 1) / stride + 1;
    if (edge == Edge::kPad && axis.count > begin_on_axis) axis.count = begin_on_axis;
  }
  axis.last_start = edge == Edge::kShift ? slack : (axis.count - 1) * stride;
  return axis;
}

TOKFRAG_HOST_DEVICE inline std::int64_t window_start(const GridAxis& axis, std::int64_t window) {
  const std::int64_t regular = window * axis.stride;
  return regular < axis.last_start ? regular : axis.last_start;
}

// How far windows and data reach together.
TOKFRAG_HOST_DEVICE inline std::int64_t padded_length(const GridAxis& axis) {
  const std::int64_t reach = axis.count > 0 ? axis.last_start + extent(axis) : 0;
  return reach > axis.length ? reach : axis.length;
}

// The windows whose span [start, start + extent) holds `position`. With dilation a window in the
// range holds the position itself only if `position - start` is a multiple of it.
TOKFRAG_HOST_DEVICE inline WindowRange windows_over(const GridAxis& axis, std::int64_t position) {
  const std::int64_t before = position - extent(axis);  // windows start after this
  std::int64_t first = before < 0 ? 0 : before / axis.stride + 1;
  if (first >= axis.count - 1 && first > 0 && axis.last_start <= before) first = axis.count;
  const std::int64_t last = position >= axis.last_start ? axis.count - 1 : position / axis.stride;
  return {first, last};
}

// Where the value at `position` (any integer) comes from: a position on the axis, or kNoSource.
TOKFRAG_HOST_DEVICE inline std::int64_t source_position(std::int64_t length, PadMode mode,
                                                        std::int64_t position) {
  if (position >= 0 && position < length) return position;
  if (mode == PadMode::kReplicate) return position < 0 ? 0 : length - 1;
  if (mode == PadMode::kConstant) return kNoSource;
  const std::int64_t period =
      mode == PadMode::kCircular ? length : (length > 1 ? 2 * (length - 1) : 1);
  std::int64_t offset = position % period;
  if (offset < 0) offset += period;
  return offset < length ? offset : period - offset;
}

}  // namespace tokfrag
