#include "fragments/extract/extract.hpp"

#include <cstring>

#include "core/parallel.hpp"
#include "fragments/extract/extract_kernel.hpp"
#include "fragments/grid/walk.hpp"

namespace tokfrag {

namespace {

// Outputs beyond this are written around the cache: they would not stay in it anyway.
constexpr std::int64_t kStreamBytes = std::int64_t{4} << 20;
// Windows of one block span about this much of an input row, so that it stays in the L1 cache.
constexpr std::int64_t kSpanBytes = std::int64_t{16} << 10;
// Bytes written that are done before anyone could ask for Ctrl-C.
constexpr std::int64_t kSmallBytes = std::int64_t{4} << 10;
// Bytes written that are worth a thread.
constexpr std::int64_t kGrainBytes = std::int64_t{256} << 10;

// What all threads share: the problem, cut into items of one input row and one block of windows.
struct ExtractPlan {
  const GridLayout& layout;
  const char* data;
  char* fragments;
  const char* pad_value;
  const ExtractKernels& kernels;
  Odometer rows;               // positions of the outer axes, padded ones too
  std::int64_t block_windows;  // windows of the innermost axis that are cut together
  std::int64_t blocks;
  bool stream;
  std::int64_t group;  // input rows cut together, whose windows' rows share a cache line; mostly 1
  const Conversion* conversion;  // null: bytes are copied
};

void fill_value(char* to, std::int64_t bytes, const char* value, std::int64_t item) {
  for (std::int64_t at = 0; at < bytes; at += item) {
    std::memcpy(to + at, value, static_cast<std::size_t>(item));
  }
}

// Cuts the rows of one thread's range.
class RowCutter {
 public:
  explicit RowCutter(const ExtractPlan& plan)
      : plan_(plan), layout_(plan.layout), last_(plan.layout.last()) {}

  void run(std::int64_t begin, std::int64_t end) {
    // Items count rows fastest, then blocks, then the batch.
    Odometer rows = plan_.rows;
    const std::int64_t per_block = rows.total();
    rows.seek(begin % per_block);
    std::int64_t block = begin / per_block % plan_.blocks;
    std::int64_t batch = begin / per_block / plan_.blocks;
    int moved = 0;
    for (std::int64_t item = begin; item < end; ++item) {
      enter(rows, moved);
      cut(batch, block);
      moved = rows.advance();
      if (moved >= 0) continue;
      moved = 0;
      if (++block == plan_.blocks) {
        block = 0;
        ++batch;
      }
    }
    plan_.kernels.fence();
  }

 private:
  // Finds the row's place in the data and in the fragments; axes outside `moved` have not changed.
  void enter(const Odometer& rows, int moved) {
    if (rows.axes > 0 && layout_.axes[0].source < 0) channel_ = rows.position[0];
    const int last = rows.axes - 1;
    if (moved == last && last >= 0 && slide(layout_.axes[last], rows.position[last])) return;
    for (int axis = moved; axis < rows.axes; ++axis) {
      const LayoutAxis& at = layout_.axes[axis];
      const std::int64_t position = rows.position[axis] * (axis == last ? plan_.group : 1);
      taps_.clear();
      append_taps(at.grid, position, taps_);
      offsets_[axis].clear();
      for (const Tap& tap : taps_) {
        offsets_[axis].push_back(tap.window * at.window_stride + tap.index * at.tap_stride);
      }
      source_[axis] = source_position(at.grid.length, layout_.pad_mode, position);
      if (axis == last) alike_end_ = end_of_alike(at.grid, position) / plan_.group;
    }
    if (last >= 0) position_ = rows.position[last];
    row_offset_ = 0;
    in_data_ = true;
    places_.assign(1, 0);
    for (int axis = 0; axis < rows.axes; ++axis) {
      in_data_ = in_data_ && source_[axis] != kNoSource;
      row_offset_ += source_[axis] * layout_.axes[axis].data_stride;
      if (offsets_[axis].size() == 1) {
        for (std::int64_t& place : places_) place += offsets_[axis][0];
        continue;
      }
      product_.clear();
      for (const std::int64_t place : places_) {
        for (const std::int64_t offset : offsets_[axis]) product_.push_back(place + offset);
      }
      places_.swap(product_);
    }
  }

  // The end of the positions in the data that the windows over this one hold: the taps are `taps_`.
  std::int64_t end_of_alike(const GridAxis& axis, std::int64_t position) const {
    if (axis.dilation != 1 || taps_.empty() || position >= axis.length) return position;
    const std::int64_t next = taps_.back().window + 1;
    std::int64_t end = window_start(axis, taps_.front().window) + axis.size;
    if (next < axis.count) end = std::min(end, window_start(axis, next));
    return std::min(end, axis.length);
  }

  // Enters a later row (or group of rows) that the same windows hold, by additions; false if they
  // are others.
  bool slide(const LayoutAxis& axis, std::int64_t position) {
    const std::int64_t steps = (position - position_) * plan_.group;
    if (steps <= 0 || position >= alike_end_) return false;
    position_ = position;
    row_offset_ += steps * axis.data_stride;
    for (std::int64_t& place : places_) place += steps * axis.tap_stride;
    return true;
  }

  // Writes one block of windows of the entered row into every fragment that holds the row.
  void cut(std::int64_t batch, std::int64_t block) {
    if (places_.empty()) return;
    const GridAxis& axis = last_.grid;
    const std::int64_t first = block * plan_.block_windows;
    const std::int64_t end = std::min(first + plan_.block_windows, axis.count);
    const std::int64_t span_begin = window_start(axis, first);
    const std::int64_t span_end = window_start(axis, end - 1) + extent(axis);

    const std::int64_t offset = batch * layout_.data_batch_stride + row_offset_;
    const char* row = in_data_ ? plan_.data + in_data_bytes(offset) : nullptr;
    const char* span = nullptr;
    if (plan_.conversion != nullptr) {
      span = convert(row, span_begin, span_end);
    } else if (row != nullptr && span_end <= axis.length && last_.data_stride == layout_.element) {
      span = row + span_begin * layout_.element;
    } else {
      span = pack(row, span_begin, span_end);
    }
    char* to =
        plan_.fragments + batch * layout_.fragment_batch_stride + first * last_.window_stride;
    // All windows of the block are regular, but for the last one of the axis.
    const bool odd_end =
        end == axis.count && axis.last_start != (axis.count - 1) * axis.stride && end - first > 1;
    const std::int64_t regular = end - first - (odd_end ? 1 : 0);
    const std::int64_t odd_from = (axis.last_start - span_begin) * layout_.element;
    const std::int64_t odd_to = (end - 1 - first) * last_.window_stride;
    for (const std::int64_t place : places_) {
      copy_windows(to + place, span, regular);
      if (odd_end) copy_windows(to + place + odd_to, span + odd_from, 1);
    }
  }

  void copy_windows(char* to, const char* from, std::int64_t windows) {
    const GridAxis& axis = last_.grid;
    const std::int64_t element = layout_.element;
    if (plan_.group > 1) {
      const std::int64_t row_step = layout_.axes[layout_.rank - 2].data_stride;
      plan_.kernels.copy_groups(to, last_.window_stride, from, axis.stride * element, windows,
                                plan_.group, row_step, plan_.stream);
      return;
    }
    if (axis.dilation == 1) {
      plan_.kernels.copy_rows(to, last_.window_stride, from, axis.stride * element,
                              axis.size * element, windows, plan_.stream);
      return;
    }
    for (std::int64_t window = 0; window < windows; ++window) {
      plan_.kernels.gather(to + window * last_.window_stride, from + window * axis.stride * element,
                           axis.dilation * element, element, axis.size);
    }
  }

  // Positions [begin, end) of the padded row, contiguous.
  const char* pack(const char* row, std::int64_t begin, std::int64_t end) {
    const GridAxis& axis = last_.grid;
    const std::int64_t element = layout_.element;
    span_.resize(static_cast<std::size_t>((end - begin) * element));
    char* to = span_.data();
    if (row == nullptr) {
      fill_value(to, (end - begin) * element, plan_.pad_value, layout_.item);
      return span_.data();
    }
    const std::int64_t inside = std::max<std::int64_t>(std::min(end, axis.length) - begin, 0);
    plan_.kernels.gather(to, row + begin * last_.data_stride, last_.data_stride, element, inside);
    for (std::int64_t at = begin + inside; at < end; ++at) {
      const std::int64_t source = source_position(axis.length, layout_.pad_mode, at);
      char* place = to + (at - begin) * element;
      if (source == kNoSource) {
        fill_value(place, element, plan_.pad_value, layout_.item);
      } else {
        std::memcpy(place, row + source * last_.data_stride, static_cast<std::size_t>(element));
      }
    }
    return span_.data();
  }

  // The layout's bytes are those of converted numbers.
  std::int64_t in_data_bytes(std::int64_t bytes) const {
    return plan_.conversion == nullptr ? bytes : bytes / layout_.item * plan_.conversion->item;
  }

  // As pack, and each number converted.
  const char* convert(const char* row, std::int64_t begin, std::int64_t end) {
    const GridAxis& axis = last_.grid;
    const Conversion& conversion = *plan_.conversion;
    const auto run = conversion_kernels().convert;
    const std::int64_t numbers = layout_.element / layout_.item;  // of a position
    const std::int64_t step = in_data_bytes(last_.data_stride);
    const bool dense = numbers == 1 || step == numbers * conversion.item;
    span_.resize(static_cast<std::size_t>((end - begin) * layout_.element));
    char* const to = span_.data();
    // The channel of all of a row's numbers; if cyclic, of the first: windows begin with channel 0,
    // or the row is all channels, and there `begin` is 0.
    const std::int64_t channel = conversion.cyclic ? 0 : channel_;
    if (row == nullptr) {
      run(conversion, plan_.pad_value, 0, (end - begin) * numbers, channel, to);
      return to;
    }
    const std::int64_t inside = std::max<std::int64_t>(std::min(end, axis.length) - begin, 0);
    if (dense) {
      const std::int64_t apart = numbers == 1 ? step : conversion.item;
      run(conversion, row + begin * step, apart, inside * numbers, channel, to);
    }
    for (std::int64_t at = dense ? begin + inside : begin; at < end; ++at) {
      const std::int64_t source = source_position(axis.length, layout_.pad_mode, at);
      const bool pad = source == kNoSource;
      run(conversion, pad ? plan_.pad_value : row + source * step, pad ? 0 : conversion.item,
          numbers, channel, to + (at - begin) * layout_.element);
    }
    return to;
  }

  const ExtractPlan& plan_;
  const GridLayout& layout_;
  const LayoutAxis& last_;
  std::vector<Tap> taps_;
  std::vector<std::int64_t> offsets_[kMaxLayoutAxes];  // of each outer axis' taps, in bytes
  std::int64_t source_[kMaxLayoutAxes] = {};
  std::vector<std::int64_t> places_;  // of the row in the fragments
  std::vector<std::int64_t> product_;
  std::int64_t position_ = 0;   // of the row entered, on the last outer axis
  std::int64_t alike_end_ = 0;  // up to here the same windows hold the rows after it
  std::int64_t row_offset_ = 0;
  std::int64_t channel_ = 0;
  bool in_data_ = true;
  std::vector<char> span_;
};

// How many input rows to cut together: those whose 16 or 32 bytes of a window make a cache line, if
// no line then mixes windows, padding or packed rows; else 1.
std::int64_t rows_a_line(const GridLayout& layout) {
  const LayoutAxis& last = layout.last();
  const std::int64_t bytes = last.grid.size * layout.element;
  if (layout.rank < 2 || (bytes != 16 && bytes != 32)) return 1;
  const std::int64_t group = 64 / bytes;
  const LayoutAxis& rows = layout.axes[layout.rank - 2];
  bool direct = last.data_stride == layout.element && last.grid.dilation == 1;
  for (int axis = 0; axis < layout.rank; ++axis) {
    const GridAxis& grid = layout.axes[axis].grid;
    direct = direct && grid.last_start + extent(grid) <= grid.length;
  }
  const bool aligned = rows.grid.dilation == 1 && rows.tap_stride == bytes &&
                       rows.grid.size % group == 0 && rows.grid.stride % group == 0 &&
                       rows.grid.last_start % group == 0;
  return direct && aligned ? group : 1;
}

void run(const GridLayout& layout, const Conversion* conversion, const void* data, void* fragments,
         const void* pad_value, int threads) {
  if (is_empty(layout)) return;
  const LayoutAxis& last = layout.last();
  ExtractPlan plan{layout,
                   static_cast<const char*>(data),
                   static_cast<char*>(fragments),
                   static_cast<const char*>(pad_value),
                   extract_kernels(),
                   {},
                   1,
                   1,
                   false,
                   conversion == nullptr ? rows_a_line(layout) : 1,
                   conversion};
  plan.rows.axes = layout.rank - 1;
  std::int64_t fragment_rows = 1;
  for (int axis = 0; axis < layout.rank - 1; ++axis) {
    const GridAxis& grid = layout.axes[axis].grid;
    plan.rows.length[axis] = grid.last_start + extent(grid);
    fragment_rows *= grid.count * grid.size;
  }
  if (plan.group > 1) plan.rows.length[plan.rows.axes - 1] /= plan.group;
  const std::int64_t span = kSpanBytes / layout.element - extent(last.grid);
  plan.block_windows =
      std::min(1 + std::max<std::int64_t>(span, 0) / last.grid.stride, last.grid.count);
  plan.blocks = (last.grid.count + plan.block_windows - 1) / plan.block_windows;

  const std::int64_t row_bytes = last.grid.size * layout.element;
  const std::int64_t bytes = layout.batch * fragment_rows * last.grid.count * row_bytes;
  plan.stream = bytes >= kStreamBytes;
  const std::int64_t items = layout.batch * plan.blocks * plan.rows.total();
  if (bytes <= kSmallBytes && items <= kSmallBytes) {  // no question of threads, nor of Ctrl-C
    RowCutter(plan).run(0, items);
    return;
  }
  const std::int64_t item_bytes = std::max<std::int64_t>(bytes / items, 1);
  parallel_for(items, std::max<std::int64_t>(kGrainBytes / item_bytes, 1), threads,
               [&](std::int64_t begin, std::int64_t end, int) { RowCutter(plan).run(begin, end); });
}

}  // namespace

void extract(const GridLayout& layout, const void* data, void* fragments, const void* pad_value,
             int threads) {
  run(layout, nullptr, data, fragments, pad_value, threads);
}

void extract_converted(const GridLayout& layout, const Conversion& conversion, const void* data,
                       void* fragments, const void* pad_value, int threads) {
  run(layout, &conversion, data, fragments, pad_value, threads);
}

bool converts_in_double(Dtype type) {
  return type == Dtype::kI32 || type == Dtype::kI64 || type == Dtype::kF64;
}

}  // namespace tokfrag
