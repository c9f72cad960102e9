#include "fragments/grid/layout.hpp"

namespace tokfrag {

bool takes_whole_axis(const GridAxis& axis) {
  return axis.count == 1 && axis.size == axis.length && axis.dilation == 1;
}

void contiguous_strides(const std::int64_t* shape, int rank, std::int64_t item,
                        std::int64_t* strides) {
  std::int64_t stride = item;
  for (int axis = rank - 1; axis >= 0; --axis) {
    strides[axis] = stride;
    stride *= shape[axis] > 0 ? shape[axis] : 1;
  }
}

GridLayout make_layout(const GridShape& grid, bool channels_last, std::int64_t item,
                       std::int64_t batch, std::int64_t channels, const std::int64_t* data_strides,
                       const std::int64_t* fragment_strides, const bool* keep_axis) {
  GridLayout layout{};
  layout.rank = grid.rank + 1;
  layout.pad_mode = grid.pad_mode;
  layout.item = item;
  layout.element = item;
  layout.batch = batch;
  layout.data_batch_stride = data_strides[0];
  layout.fragment_batch_stride = fragment_strides[0];

  const int channel_axis = channels_last ? grid.rank : 0;
  const int first = channels_last ? 0 : 1;
  LayoutAxis& channel = layout.axes[channel_axis];
  channel.grid = {channels, channels, channels, 1, 1, 0};
  channel.data_stride = data_strides[1 + channel_axis];
  channel.window_stride = 0;
  channel.tap_stride = fragment_strides[2 + channel_axis];
  channel.source = -1;
  std::int64_t window_stride = fragment_strides[1];
  for (int axis = grid.rank - 1; axis >= 0; --axis) {
    LayoutAxis& target = layout.axes[first + axis];
    target.grid = grid.axes[axis];
    target.data_stride = data_strides[1 + first + axis];
    target.window_stride = window_stride;
    target.tap_stride = fragment_strides[2 + first + axis];
    target.source = axis;
    window_stride *= grid.axes[axis].count;
  }

  while (layout.rank > 1) {
    const LayoutAxis& inner = layout.last();
    const bool kept = inner.source >= 0 && keep_axis != nullptr && keep_axis[inner.source];
    if (kept || !takes_whole_axis(inner.grid) || inner.grid.length == 0) break;
    const bool contiguous =
        inner.data_stride == layout.element && inner.tap_stride == layout.element;
    if (!contiguous && inner.grid.length > 1) break;
    layout.element *= inner.grid.length;
    --layout.rank;
  }
  return layout;
}

bool is_empty(const GridLayout& layout) {
  bool empty = layout.batch == 0;
  for (int axis = 0; axis < layout.rank; ++axis) {
    const GridAxis& grid = layout.axes[axis].grid;
    empty = empty || grid.count == 0 || grid.size == 0;
  }
  return empty;
}

}  // namespace tokfrag
