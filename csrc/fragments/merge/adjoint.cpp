#include "fragments/merge/adjoint.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/parallel.hpp"
#include "fragments/extract/extract_kernel.hpp"
#include "fragments/merge/adjoint_kernel.hpp"
#include "fragments/merge/plan.hpp"

namespace tokfrag {

namespace {

// Outputs beyond this are written around the cache.
constexpr std::int64_t kStreamBytes = std::int64_t{4} << 20;
// Windows of one block span about this many numbers of a row: as doubles, a quarter of the
// L1 cache.
constexpr std::int64_t kSpanNumbers = 1024;
// Bytes written that are worth a thread.
constexpr std::int64_t kGrainBytes = std::int64_t{256} << 10;

// What all threads share: the problem, cut into items of one data row and one block of windows.
struct WeightedPlan : WeightPlan {
  const char* data;
  char* fragments;
  Dtype dtype;
  PadMode pad_mode;
  std::int64_t width;          // numbers an element
  const AxisWindow* own;       // of the innermost axis; null for the channels
  std::vector<double> taps;    // its weights, one a number, where those are wanted
  Odometer rows;               // positions of the outer axes, padded ones too
  std::int64_t block_windows;  // windows of the innermost axis that are cut together
  std::int64_t blocks;
  bool plain;                  // all of a row's windows get the same numbers
  std::vector<float> singles;  // the innermost axis' weights, one a number, if in float32
  bool stream;
};

// Of positive normal numbers: nothing but an exponent.
bool is_power_of_two(double value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return value > 0 && std::isnormal(value) && bits << 12 == 0;
}

// What an axis has for each position, for each number of it: spread where that is several.
template <class Real>
class NumberFactors {
 public:
  // Of positions [begin, begin + count).
  const Real* of(const std::vector<Real>& own, std::int64_t begin, std::int64_t count,
                 std::int64_t width) {
    const Real* from = own.data() + begin;
    if (width == 1) return from;
    if (begin == begin_ && count == count_) return spread_.data();
    begin_ = begin;
    count_ = count;
    spread_.clear();
    for (std::int64_t k = 0; k < count; ++k) {
      spread_.insert(spread_.end(), static_cast<std::size_t>(width), from[k]);
    }
    return spread_.data();
  }

 private:
  std::vector<Real> spread_;
  std::int64_t begin_ = -1;
  std::int64_t count_ = -1;
};

// Cuts the rows of one thread's range. Each is widened and normalised once, for all its windows.
class WeightedCutter {
 public:
  explicit WeightedCutter(const WeightedPlan& plan)
      : plan_(plan),
        layout_(plan.layout),
        last_(plan.layout.last()),
        kernels_(weighted_kernels()),
        widen_(kernels_.widen[static_cast<std::size_t>(plan.dtype)]),
        finder_(plan) {}

  void run(std::int64_t begin, std::int64_t end) {
    // Items count rows fastest, then blocks, then the batch.
    Odometer rows = plan_.rows;
    const std::int64_t per_block = rows.total();
    rows.seek(begin % per_block);
    std::int64_t block = begin / per_block % plan_.blocks;
    std::int64_t batch = begin / per_block / plan_.blocks;
    int moved = 0;
    for (std::int64_t item = begin; item < end; ++item) {
      finder_.enter(rows, moved);
      if (!finder_.places().empty()) cut(rows, batch, block);
      moved = rows.advance();
      if (moved >= 0) continue;
      moved = 0;
      if (++block == plan_.blocks) {
        block = 0;
        ++batch;
      }
    }
    kernels_.fence();
  }

 private:
  // The data's row, or null where it is all zeros.
  const char* row_of(const Odometer& rows, std::int64_t batch) const {
    const char* row = plan_.data + batch * layout_.data_batch_stride;
    for (int axis = 0; axis < rows.axes; ++axis) {
      const LayoutAxis& at = layout_.axes[axis];
      const std::int64_t source =
          source_position(at.grid.length, plan_.pad_mode, rows.position[axis]);
      if (source == kNoSource) return nullptr;
      row += source * at.data_stride;
    }
    return row;
  }

  void cut(const Odometer& rows, std::int64_t batch, std::int64_t block) {
    const GridAxis& axis = last_.grid;
    const std::int64_t first = block * plan_.block_windows;
    const std::int64_t end = std::min(first + plan_.block_windows, axis.count);
    const std::int64_t begin = window_start(axis, first);
    const std::int64_t span_end = window_start(axis, end - 1) + extent(axis);
    const char* const row = row_of(rows, batch);
    if (plan_.plain) {
      narrow(row, begin, span_end);
    } else if (!plan_.singles.empty()) {
      widen_halves(row, begin, span_end);
    } else {
      widen(row, begin, span_end);
    }
    // All windows of the block are regular, but for the last one of the axis.
    const bool odd_end =
        end == axis.count && axis.last_start != (axis.count - 1) * axis.stride && end - first > 1;
    char* const to = plan_.fragments + batch * layout_.fragment_batch_stride;
    for (const Place& place : finder_.places()) {
      write(to, place, first, end - (odd_end ? 1 : 0), begin);
      if (odd_end) write(to, place, end - 1, end, begin);
    }
  }

  // Windows [first, end) of a row; the span begins at position `begin`.
  void write(char* fragments, const Place& place, std::int64_t first, std::int64_t end,
             std::int64_t begin) const {
    const GridAxis& axis = last_.grid;
    if (!plan_.singles.empty()) {
      SingleRows task{};
      task.to = fragments + place.offset + first * last_.window_stride;
      task.to_step = last_.window_stride;
      task.from = single_span_.data() + (window_start(axis, first) - begin) * plan_.width;
      task.from_step = axis.stride * plan_.width;
      task.weights = plan_.singles.data();
      task.scale = static_cast<float>(place.weight);
      task.numbers = axis.size * plan_.width;
      task.rows = end - first;
      task.stream = plan_.stream;
      kernels_.weigh_halves(task);
      return;
    }
    if (!plan_.plain) {
      weigh(fragments, place, first, end, begin);
      return;
    }
    const std::int64_t element = layout_.element;
    extract_kernels().copy_rows(
        fragments + place.offset + first * last_.window_stride, last_.window_stride,
        narrow_.data() + (window_start(axis, first) - begin) * element, axis.stride * element,
        axis.size * element, end - first, plan_.stream);
  }

  void weigh(char* fragments, const Place& place, std::int64_t first, std::int64_t end,
             std::int64_t begin) const {
    const GridAxis& axis = last_.grid;
    const int inner = layout_.rank - 1;
    WeightedRows task{};
    task.to = fragments + place.offset + first * last_.window_stride;
    task.to_step = last_.window_stride;
    task.from = span_.data() + (window_start(axis, first) - begin) * plan_.width;
    task.from_step = axis.stride * plan_.width;
    task.dilation = axis.dilation;
    task.scale = place.weight;
    task.count = axis.size;
    task.width = plan_.width;
    task.rows = end - first;
    task.stream = plan_.stream;
    if (!plan_.window.whole.empty()) {
      task.weights = plan_.window.whole.data() + place.whole + first * plan_.whole.windows[inner];
      task.weight_step = plan_.whole.taps[inner];
      task.weight_row_step = plan_.whole.windows[inner];
    } else if (!plan_.taps.empty()) {
      task.weights = plan_.taps.data();
      task.weight_step = 1;
      task.count *= plan_.width;
      task.width = 1;
    } else if (plan_.own != nullptr && !plan_.own->weights.empty()) {
      task.weights = plan_.own->weights.data();
      task.weight_step = 1;
    }
    kernels_.weigh[static_cast<std::size_t>(plan_.dtype)](task);
  }

  // Calls `part(to, from, count)` for every stretch of positions [begin, end) of a row, padded ones
  // too, that lies in the data, `to` the place of its first; the first stretch is what lies inside.
  template <class Part>
  void each_stretch(const char* row, std::int64_t begin, std::int64_t end, const Part& part) {
    const GridAxis& axis = last_.grid;
    const std::int64_t inside = positions_inside(begin, end);
    part(0, packed(row, begin, inside), inside);
    for (std::int64_t at = begin + inside; at < end; ++at) {
      const std::int64_t source = source_position(axis.length, plan_.pad_mode, at);
      if (source == kNoSource) break;
      part(at - begin, packed(row, source, 1), 1);
    }
  }

  std::int64_t positions_inside(std::int64_t begin, std::int64_t end) const {
    return std::max<std::int64_t>(std::min(end, last_.grid.length) - begin, 0);
  }

  // narrow_ = positions [begin, end) of a row over the counts of windows, rounded.
  void narrow(const char* row, std::int64_t begin, std::int64_t end) {
    const auto at_type = static_cast<std::size_t>(plan_.dtype);
    const std::int64_t width = plan_.width;
    const std::int64_t element = layout_.element;
    const std::int64_t inside = row == nullptr ? 0 : positions_inside(begin, end);
    narrow_.resize(static_cast<std::size_t>((end - begin) * element));
    std::fill(narrow_.begin() + inside * element, narrow_.end(), char{0});
    if (row == nullptr) return;
    fetch_next(row, begin, inside);
    const bool mean = plan_.window.reduce == Reduce::kMean;
    const bool normalised = mean && plan_.own != nullptr;
    const double scale = mean ? finder_.inverse() : 1.0;
    const bool exact = kernels_.halve[at_type] != nullptr && is_power_of_two(scale) &&
                       (!normalised || (plan_.own->exact_begin <= begin &&
                                        begin + inside <= plan_.own->exact_end));
    each_stretch(row, begin, end, [&](std::int64_t at, const char* from, std::int64_t count) {
      char* const to = narrow_.data() + at * element;
      if (exact) {
        const float* factors =
            normalised ? single_factors_.of(plan_.own->singles, begin, count, width) : nullptr;
        kernels_.halve[at_type](to, from, count * width, static_cast<float>(scale), factors);
      } else {
        const double* factors =
            normalised ? factors_.of(plan_.own->inverse, begin, count, width) : nullptr;
        kernels_.narrow[at_type](to, from, count * width, scale, factors);
      }
    });
  }

  // As `widen`, of halves in float32.
  void widen_halves(const char* row, std::int64_t begin, std::int64_t end) {
    const std::int64_t width = plan_.width;
    const std::int64_t inside = row == nullptr ? 0 : positions_inside(begin, end);
    single_span_.resize(static_cast<std::size_t>((end - begin) * width));
    std::fill(single_span_.begin() + inside * width, single_span_.end(), 0.0F);
    if (row == nullptr) return;
    fetch_next(row, begin, inside);
    const float* factors = plan_.own == nullptr
                               ? nullptr
                               : single_factors_.of(plan_.own->singles, begin, inside, width);
    kernels_.widen_halves(single_span_.data(), packed(row, begin, inside), inside * width,
                          static_cast<float>(finder_.inverse()), factors);
  }

  // span_ = positions [begin, end) of a row, padded ones too, over what depends on them alone.
  void widen(const char* row, std::int64_t begin, std::int64_t end) {
    const std::int64_t width = plan_.width;
    const std::int64_t inside = row == nullptr ? 0 : positions_inside(begin, end);
    span_.resize(static_cast<std::size_t>((end - begin) * width));
    std::fill(span_.begin() + inside * width, span_.end(), 0.0);
    if (row == nullptr) return;
    fetch_next(row, begin, inside);
    const bool mean = plan_.window.reduce == Reduce::kMean;
    const bool whole = !plan_.window.whole.empty();
    const bool normalised = mean && !whole && plan_.own != nullptr && !plan_.own->inverse.empty();
    const double scale = mean && !whole ? finder_.inverse() : 1.0;
    each_stretch(row, begin, end, [&](std::int64_t at, const char* from, std::int64_t count) {
      const double* factors =
          normalised ? factors_.of(plan_.own->inverse, begin, count, width) : nullptr;
      widen_(span_.data() + at * width, from, count * width, scale, factors);
    });
    if (!mean || !whole) return;
    sum_weights(begin, begin + inside);
    for (double& sum : sums_) sum = 1.0 / sum;
    kernels_.multiply(span_.data(), 1.0, sums_.data(), inside, width);
  }

  // Asks for what is cut next: while this row is written, reading would rest.
  void fetch_next(const char* row, std::int64_t begin, std::int64_t count) const {
    constexpr std::int64_t kLine = 64;
    if (last_.data_stride != layout_.element) return;
    const std::int64_t to_next = plan_.rows.total() == 1
                                     ? plan_.block_windows * last_.grid.stride * last_.data_stride
                                     : layout_.axes[layout_.rank - 2].data_stride;
    const auto from = reinterpret_cast<std::uintptr_t>(row + begin * last_.data_stride) +
                      static_cast<std::uintptr_t>(to_next);
    for (std::int64_t at = 0; at < count * layout_.element; at += kLine) {
      __builtin_prefetch(reinterpret_cast<const void*>(from + static_cast<std::uintptr_t>(at)));
    }
  }

  // Elements of a row, contiguous.
  const char* packed(const char* row, std::int64_t begin, std::int64_t count) {
    const char* from = row + begin * last_.data_stride;
    const bool aligned =
        reinterpret_cast<std::uintptr_t>(from) % static_cast<std::uintptr_t>(layout_.item) == 0;
    if (aligned && (last_.data_stride == layout_.element || count == 1)) return from;
    packed_.resize(static_cast<std::size_t>(count * layout_.element));
    extract_kernels().gather(packed_.data(), from, last_.data_stride, layout_.element, count);
    return packed_.data();
  }

  // sums_ = what the weights of all windows over positions [begin, end) of the row come to.
  void sum_weights(std::int64_t begin, std::int64_t end) {
    const GridAxis& axis = last_.grid;
    const int inner = layout_.rank - 1;
    sums_.assign(static_cast<std::size_t>(end - begin), 0.0);
    if (begin == end) return;
    const std::int64_t first = windows_over(axis, begin).first;
    const std::int64_t last = windows_over(axis, end - 1).last;
    for (std::int64_t window = first; window <= last; ++window) {
      const std::int64_t start = window_start(axis, window);
      const std::int64_t from =
          begin > start ? (begin - start + axis.dilation - 1) / axis.dilation : 0;
      const std::int64_t inside = end > start ? (end - 1 - start) / axis.dilation + 1 : 0;
      const std::int64_t to = std::min(inside, axis.size);
      if (from >= to) continue;
      double* sums = sums_.data() + start + from * axis.dilation - begin;
      for (const Place& place : finder_.places()) {
        const double* weights = plan_.window.whole.data() + place.whole +
                                window * plan_.whole.windows[inner] +
                                from * plan_.whole.taps[inner];
        add_weights(sums, weights, to - from);
      }
    }
  }

  void add_weights(double* sums, const double* weights, std::int64_t count) const {
    const std::int64_t dilation = last_.grid.dilation;
    const std::int64_t step = plan_.whole.taps[layout_.rank - 1];
    if (step == 1) {
      kernels_.add_weights(sums, dilation, weights, count);
      return;
    }
    for (std::int64_t k = 0; k < count; ++k) sums[k * dilation] += weights[k * step];
  }

  const WeightedPlan& plan_;
  const GridLayout& layout_;
  const LayoutAxis& last_;
  const WeightedKernels& kernels_;
  void (*const widen_)(double* row, const void* from, std::int64_t numbers, double scale,
                       const double* factors);
  PlaceFinder finder_;
  std::vector<double> span_;
  std::vector<float> single_span_;
  std::vector<double> sums_;
  std::vector<char> packed_;
  std::vector<char> narrow_;
  NumberFactors<double> factors_;
  NumberFactors<float> single_factors_;
};

// Whether halves are weighed in float32: weights that are normalised and not negative, where what
// is lost by a small factor is less than a half's last place.
bool weighs_singles(const WeightedPlan& plan) {
  return plan.dtype == Dtype::kF16 && !plan.plain && plan.window.single &&
         plan.window.reduce == Reduce::kMean && plan.layout.last().grid.dilation == 1 &&
         (plan.own == nullptr || plan.own->fits);
}

// An axis' weights, one for each number of its positions.
std::vector<double> number_weights(const AxisWindow* own, const GridAxis& axis,
                                   std::int64_t width) {
  std::vector<double> result;
  if (own == nullptr || own->weights.empty() || axis.dilation != 1 || width == 1) return result;
  for (const double weight : own->weights) {
    result.insert(result.end(), static_cast<std::size_t>(width), weight);
  }
  return result;
}

}  // namespace

void extract_weighted(const GridLayout& layout, const GridShape& grid, const MergeWindow& window,
                      Dtype dtype, const void* data, void* fragments, int threads) {
  if (is_empty(layout)) return;
  const LayoutAxis& last = layout.last();
  // Beyond an axis a mean has no fragments.
  const PadMode pad_mode = window.reduce == Reduce::kMean ? PadMode::kConstant : layout.pad_mode;
  WeightedPlan plan{{layout, window, false, whole_steps(layout, grid, window)},
                    static_cast<const char*>(data),
                    static_cast<char*>(fragments),
                    dtype,
                    pad_mode,
                    layout.element / layout.item,
                    nullptr,
                    {},
                    {},
                    1,
                    1,
                    false,
                    {},
                    false};
  plan.own = plan.axis_window(layout.rank - 1);
  plan.taps = number_weights(plan.own, last.grid, plan.width);
  plan.plain = window.uniform && last.grid.dilation == 1;
  if (weighs_singles(plan)) {
    for (std::int64_t tap = 0; tap < last.grid.size; ++tap) {
      const bool weighted = plan.own != nullptr && !plan.own->weights.empty();
      const double weight = weighted ? plan.own->weights[static_cast<std::size_t>(tap)] : 1.0;
      plan.singles.insert(plan.singles.end(), static_cast<std::size_t>(plan.width),
                          static_cast<float>(weight));
    }
  }
  plan.rows.axes = layout.rank - 1;
  std::int64_t fragment_rows = 1;
  for (int axis = 0; axis < layout.rank - 1; ++axis) {
    const GridAxis& at = layout.axes[axis].grid;
    plan.rows.length[axis] = at.last_start + extent(at);
    fragment_rows *= at.count * at.size;
  }
  const std::int64_t span = kSpanNumbers / plan.width - extent(last.grid);
  plan.block_windows =
      std::min(1 + std::max<std::int64_t>(span, 0) / last.grid.stride, last.grid.count);
  plan.blocks = (last.grid.count + plan.block_windows - 1) / plan.block_windows;

  const std::int64_t row_bytes = last.grid.size * layout.element;
  const std::int64_t bytes = layout.batch * fragment_rows * last.grid.count * row_bytes;
  plan.stream = bytes >= kStreamBytes;
  const std::int64_t items = layout.batch * plan.blocks * plan.rows.total();
  const std::int64_t item_bytes = std::max<std::int64_t>(bytes / items, 1);
  parallel_for(
      items, std::max<std::int64_t>(kGrainBytes / item_bytes, 1), threads,
      [&](std::int64_t begin, std::int64_t end, int) { WeightedCutter(plan).run(begin, end); });
}

}  // namespace tokfrag
