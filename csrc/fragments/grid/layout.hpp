// How the axes of a grid lie in two arrays: the data and its fragments.
//
// Both arrays are seen as axes of windows only. The channels are one more axis, with a single
// window over all of it; axes that every fragment takes whole and that are contiguous at the inner
// end (channels last, say) melt into the element. So kernels know neither channels nor layouts.
#pragma once

#include <cstdint>

#include "fragments/grid/grid.hpp"

namespace tokfrag {

constexpr int kMaxLayoutAxes = kMaxAxes + 1;

// One axis: its windows, and the bytes between neighbours along it.
struct LayoutAxis {
  GridAxis grid;
  std::int64_t data_stride;    // positions, in the data
  std::int64_t window_stride;  // windows, in the fragments
  std::int64_t tap_stride;     // positions of one window, in the fragments
  int source;                  // the axis of the grid this is; -1 for the channels
};

struct GridLayout {
  int rank;  // at least 1
  PadMode pad_mode;
  std::int64_t item;     // bytes of one number
  std::int64_t element;  // contiguous bytes that belong to one position of the innermost axis
  std::int64_t batch;
  std::int64_t data_batch_stride;
  std::int64_t fragment_batch_stride;
  LayoutAxis axes[kMaxLayoutAxes];

  const LayoutAxis& last() const { return axes[rank - 1]; }
};

// Strides are in bytes and outermost first: `data_strides` (batch, channels, *space_time), or
// (batch, *space_time, channels) with `channels_last`; `fragment_strides` (batch, n, channels,
// *size), or (batch, n, *size, channels). A grid axis for which `keep_axis` (one flag a grid axis;
// may be null) is set never melts into the element.
GridLayout make_layout(const GridShape& grid, bool channels_last, std::int64_t item,
                       std::int64_t batch, std::int64_t channels, const std::int64_t* data_strides,
                       const std::int64_t* fragment_strides, const bool* keep_axis);

// True if one window holds exactly the axis: such an axis may melt into the element.
bool takes_whole_axis(const GridAxis& axis);

// True if the layout has no fragment element at all.
bool is_empty(const GridLayout& layout);

// Byte strides of a contiguous array.
void contiguous_strides(const std::int64_t* shape, int rank, std::int64_t item,
                        std::int64_t* strides);

}  // namespace tokfrag
