#include <algorithm>
#include <array>
#include <cstring>

#include "core/parallel.hpp"
#include "fragments/merge/own_weights_kernel.hpp"
#include "fragments/merge/plan.hpp"
#include "fragments/merge/tile_kernel.hpp"

namespace tokfrag {

namespace {

// Shorter stretches under the same windows than this (in numbers) go faster row by row.
constexpr std::int64_t kLeastStride = 8;
// Rows of a tile: enough for the reads of one fragment to run on, few enough for the first-level
// cache to hold the lines that the next stretch shares.
constexpr std::int64_t kTileRows = 32;
// Numbers of a long row that are merged together.
constexpr std::int64_t kTileNumbers = std::int64_t{1} << 14;
// Stretches of lone windows that are copied together: enough to write long pieces of a row, few
// enough to read on in each window.
constexpr std::size_t kLonePieces = 8;
constexpr std::int64_t kGrainBytes = std::int64_t{256} << 10;
// Outputs beyond this are written around the cache.
constexpr std::int64_t kStreamBytes = std::int64_t{4} << 20;

// Vectors of the innermost axis with one entry a number instead of a position.
struct NumberVectors {
  std::vector<double> weights;
  std::vector<double> factors;
  std::vector<double> whole;
};

template <class Values>
std::vector<double> repeated(const Values& values, std::int64_t width) {
  std::vector<double> result;
  result.reserve(values.size() * static_cast<std::size_t>(width));
  for (const double value : values)
    result.insert(result.end(), static_cast<std::size_t>(width), value);
  return result;
}

// What all threads share: the problem, cut into items of some rows along the last outer axis and
// some positions of the innermost one.
struct TilePlan {
  MergePlan& merge;
  const double* weights;     // of the innermost axis' window; null: ones
  const double* factors;     // of its positions; null: ones
  const double* whole;       // weights of all of the window, or of all windows
  std::int64_t whole_width;  // numbers a weight of those is repeated for
  bool weighted;
  bool stream;
  bool lone;  // one number means itself: no weights
  std::int64_t tile_rows;
  std::int64_t chunk;  // positions
  std::int64_t chunks;
  Odometer items;  // like the rows, but the last outer axis counts tiles
};

// What says which weights lie over a stretch of an entered tile: the first row and the numbers of
// the stretch; where the weights of its first and last columns begin, and how many those are.
using NormsKey = std::array<std::int64_t, 5>;

// What normalises a mean under a whole window, row after row.
struct Norms {
  NormsKey key{};
  std::vector<double> values;
};
constexpr std::size_t kKeptNorms = 4;

class TileMerger {
 public:
  explicit TileMerger(const TilePlan& plan)
      : plan_(plan),
        merge_(plan.merge),
        layout_(plan.merge.layout),
        last_(plan.merge.layout.last()),
        kernels_(merge_tile_kernels()),
        finder_(plan.merge) {}

  void run(std::int64_t begin, std::int64_t end) {
    Odometer items = plan_.items;
    const std::int64_t per_batch = items.total();
    // Items count chunks fastest, then tiles, then the batch.
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t tile = item / plan_.chunks;
      if (item == begin || item % plan_.chunks == 0) {
        items.seek(tile % per_batch);
        enter(items);
      }
      merge_chunk(tile / per_batch, item % plan_.chunks);
    }
    kernels_.fence();
  }

 private:
  // Finds the places of the tile's rows.
  void enter(const Odometer& items) {
    Odometer rows = merge_.rows;
    std::int64_t count = 1;
    for (int axis = 0; axis < rows.axes; ++axis) rows.position[axis] = items.position[axis];
    if (rows.axes > 0) {
      const int inner = rows.axes - 1;
      rows.position[inner] *= plan_.tile_rows;
      count = std::min(plan_.tile_rows, rows.length[inner] - rows.position[inner]);
    }
    first_row_ = 0;
    for (int axis = 0; axis < rows.axes; ++axis) {
      first_row_ = first_row_ * rows.length[axis] + rows.position[axis];
    }
    rows_.clear();
    places_.clear();
    lone_ = plan_.lone;
    for (Norms& kept : norms_) kept.key = {};
    for (std::int64_t row = 0; row < count; ++row) {
      finder_.enter(rows, row == 0 ? 0 : rows.axes - 1);
      for (const Place& place : finder_.places()) {
        places_.push_back({place.offset, place.weight, place.whole * plan_.whole_width});
      }
      const bool integers = merge_.dtype <= Dtype::kI64 || merge_.method == MergeMethod::kExact;
      rows_.push_back({nullptr, static_cast<std::int64_t>(finder_.places().size()),
                       integers ? finder_.divisor() : finder_.inverse()});
      lone_ = lone_ && rows_.back().count == 1 && rows_.back().scale == 1.0;
      if (rows.axes > 0) ++rows.position[rows.axes - 1];
    }
    const TilePlace* place = places_.data();
    for (TileRow& row : rows_) {
      row.places = place;
      place += row.count;
    }
  }

  void merge_chunk(std::int64_t batch, std::int64_t chunk) {
    const GridAxis& axis = last_.grid;
    const std::int64_t begin = chunk * plan_.chunk;
    const std::int64_t end = std::min(begin + plan_.chunk, axis.length);
    const std::int64_t row_bytes = axis.length * layout_.element;
    MergeTile tile{};
    tile.fragments = merge_.fragments + batch * layout_.fragment_batch_stride;
    tile.out_step = row_bytes;
    tile.weighted = plan_.weighted;
    tile.stream = plan_.stream;
    char* out = merge_.out + batch * layout_.data_batch_stride + first_row_ * row_bytes;
    for (std::int64_t at = begin; at < end;) {
      const WindowRange range = windows_over(axis, at);
      std::int64_t next = end;
      if (range.first < axis.count) {
        const std::int64_t start = window_start(axis, range.first);
        next = std::min(next, start > at ? start : start + axis.size);
      }
      if (range.last + 1 < axis.count) {
        next = std::min(next, window_start(axis, range.last + 1));
      }
      const bool alone = lone_ && range.first == range.last && unscaled(at);
      if (!alone || pieces_.size() == kLonePieces) flush(tile);
      if (alone) {
        add_piece(tile, range.first, out, at, next);
      } else {
        open_columns(range, at);
        merge_stretch(tile, out, at, next);
        // Inside the axis the next stretch is the same, a window on.
        const bool regular = next - at == axis.stride && at >= extent(axis) - axis.stride;
        while (regular && next + axis.stride <= std::min(end, axis.last_start)) {
          at = next;
          next += axis.stride;
          move_columns();
          merge_stretch(tile, out, at, next);
        }
      }
      at = next;
    }
    flush(tile);
  }

  // Whether a position's numbers are taken as they are, if only one window holds it.
  bool unscaled(std::int64_t at) const {
    return plan_.factors == nullptr || plan_.factors[at * merge_.width] == 1.0;
  }

  // Positions [at, next), to be copied from one window.
  void add_piece(MergeTile& tile, std::int64_t window, char* out, std::int64_t at,
                 std::int64_t next) {
    const std::int64_t index = at - window_start(last_.grid, window);
    if (pieces_.empty()) {
      tile.out = out + at * layout_.element;
      tile.rows = rows_.data();
      tile.row_count = static_cast<std::int64_t>(rows_.size());
    }
    pieces_.push_back({window * last_.window_stride + index * layout_.element,
                       out + at * layout_.element - tile.out, (next - at) * layout_.element});
  }

  void flush(const MergeTile& tile) {
    if (pieces_.empty()) return;
    kernels_.copy(tile, pieces_.data(), static_cast<std::int64_t>(pieces_.size()));
    pieces_.clear();
  }

  // The windows over a position.
  void open_columns(const WindowRange& range, std::int64_t at) {
    const std::int64_t width = merge_.width;
    const int inner = layout_.rank - 1;
    columns_.clear();
    for (std::int64_t window = range.first; window <= range.last; ++window) {
      const std::int64_t index = at - window_start(last_.grid, window);
      columns_.push_back(
          {window * last_.window_stride + index * layout_.element,
           plan_.weights == nullptr ? nullptr : plan_.weights + index * width, nullptr,
           (window * merge_.whole.windows[inner] + index * merge_.whole.taps[inner]) *
               plan_.whole_width});
    }
  }

  void move_columns() {
    const std::int64_t whole = merge_.whole.windows[layout_.rank - 1] * plan_.whole_width;
    for (TileColumn& column : columns_) {
      column.offset += last_.window_stride;
      column.whole += whole;
    }
  }

  // Positions [at, next), all of which lie under the windows opened.
  void merge_stretch(MergeTile& tile, char* out, std::int64_t at, std::int64_t next) {
    const std::int64_t width = merge_.width;
    tile.numbers = (next - at) * width;
    // Without weights the factor depends on the windows alone, so the stretch has one.
    const double* factors = plan_.factors == nullptr ? nullptr : plan_.factors + at * width;
    tile.factor = factors != nullptr && plan_.weights == nullptr ? factors[0] : 1.0;
    tile.factors = plan_.weights == nullptr ? nullptr : factors;
    tile.columns = columns_.data();
    tile.column_count = static_cast<std::int64_t>(columns_.size());
    if (merge_.method == MergeMethod::kSingle && plan_.weights != nullptr) {
      normalise(tile.numbers, factors);
    }
    // Runs of rows that some fragment holds; the others are filled.
    const auto rows = static_cast<std::int64_t>(rows_.size());
    for (std::int64_t row = 0; row < rows;) {
      char* to = out + row * tile.out_step + at * layout_.element;
      std::int64_t stop = row;
      while (stop < rows && !columns_.empty() && rows_[static_cast<std::size_t>(stop)].count > 0) {
        ++stop;
      }
      if (stop == row) {
        fill_value(to, (next - at) * layout_.element, merge_.fill, layout_.item);
        ++row;
        continue;
      }
      tile.out = to;
      tile.rows = rows_.data() + row;
      tile.row_count = stop - row;
      const auto dtype = static_cast<std::size_t>(merge_.dtype);
      if (merge_.method == MergeMethod::kWhole) {
        merge_whole(tile, row);
      } else if (merge_.method == MergeMethod::kSingle) {
        kernels_.merge_single[dtype](tile);
      } else if (merge_.method == MergeMethod::kExact) {
        kernels_.merge_exact(tile);
      } else {
        kernels_.merge[dtype](tile);
      }
      row = stop;
    }
  }

  // Gives each column its weights times the stretch's factors (null: ones), in float32. They are
  // mostly those of the stretch before.
  void normalise(std::int64_t numbers, const double* factors) {
    const auto length = static_cast<std::size_t>(numbers);
    const std::size_t count = columns_.size();
    bool same = kept_weights_.size() == count && kept_factors_.size() == length;
    for (std::size_t c = 0; same && c < count; ++c) same = kept_weights_[c] == columns_[c].weights;
    if (factors == nullptr) {
      same = same && kept_ones_;
    } else {
      same = same && !kept_ones_ &&
             std::memcmp(kept_factors_.data(), factors, length * sizeof(double)) == 0;
    }
    if (!same) {
      kept_weights_.clear();
      kept_ones_ = factors == nullptr;
      kept_factors_.assign(length, 1.0);
      if (factors != nullptr) std::copy(factors, factors + length, kept_factors_.begin());
      singles_.resize(count * length);
      float* single = singles_.data();
      for (const TileColumn& column : columns_) {
        kept_weights_.push_back(column.weights);
        for (std::size_t i = 0; i < length; ++i) {
          *single++ = static_cast<float>(column.weights[i] * kept_factors_[i]);
        }
      }
    }
    for (std::size_t c = 0; c < count; ++c) columns_[c].singles = singles_.data() + c * length;
  }

  // `row`: the tile's first, of the rows entered.
  void merge_whole(const MergeTile& tile, std::int64_t row) {
    WholeTile whole{tile, plan_.whole, merge_.whole.taps[layout_.rank - 1] == 0,
                    merge_.window.reduce == Reduce::kMean, nullptr};
    // One window for all: its norms recur along the row.
    if (whole.mean && !merge_.window.per_fragment) whole.norms = norms_of(whole, row);
    const auto merge = merge_whole_kernels().merge[static_cast<std::size_t>(merge_.dtype)];
    if (!merge(whole)) plan_.merge.zero_sum.store(true);
  }

  const double* norms_of(const WholeTile& whole, std::int64_t row) {
    const MergeTile& tile = whole.tile;
    const NormsKey key{row, tile.numbers, tile.columns[0].whole,
                       tile.columns[tile.column_count - 1].whole, tile.column_count};
    for (const Norms& kept : norms_) {
      if (kept.key == key) return kept.values.data();
    }
    Norms& made = norms_[next_norms_++ % kKeptNorms];
    made.key = key;
    made.values.resize(static_cast<std::size_t>(tile.row_count * tile.numbers));
    const bool divides = merge_.dtype <= Dtype::kI64;
    if (!merge_whole_kernels().sum_weights(whole, divides, made.values.data())) {
      plan_.merge.zero_sum.store(true);
    }
    return made.values.data();
  }

  const TilePlan& plan_;
  const MergePlan& merge_;
  const GridLayout& layout_;
  const LayoutAxis& last_;
  const MergeTileKernels& kernels_;
  PlaceFinder finder_;
  std::int64_t first_row_ = 0;
  std::vector<TileRow> rows_;
  std::vector<TilePlace> places_;
  std::vector<TileColumn> columns_;
  bool lone_ = false;  // the rows entered have one place each, and take it as it is
  std::vector<LonePiece> pieces_;
  std::vector<float> singles_;  // of the last stretch, and what they were made of
  std::vector<const double*> kept_weights_;
  std::vector<double> kept_factors_;
  bool kept_ones_ = false;
  Norms norms_[kKeptNorms];
  std::size_t next_norms_ = 0;
};

}  // namespace

bool merge_takes_tiles(const MergePlan& plan) {
  const GridLayout& layout = plan.layout;
  const LayoutAxis& last = layout.last();
  bool aligned =
      reinterpret_cast<std::uintptr_t>(plan.fragments) % static_cast<std::uintptr_t>(layout.item) ==
      0;
  aligned = aligned && layout.fragment_batch_stride % layout.item == 0;
  for (int axis = 0; axis < layout.rank; ++axis) {
    aligned = aligned && layout.axes[axis].window_stride % layout.item == 0 &&
              layout.axes[axis].tap_stride % layout.item == 0;
  }
  // Weights of wide positions are repeated for each number; not those of all windows, they are
  // many.
  const bool many = plan.window.per_fragment && !plan.window.constant && plan.width > 1;
  const bool summed = plan.method != MergeMethod::kMax && !many;
  const bool plain = last.grid.dilation == 1 && last.tap_stride == layout.element && !plan.fold;
  const std::int64_t step = std::min(last.grid.stride, last.grid.size) * plan.width;
  return summed && aligned && plain && (step >= kLeastStride || last.grid.count == 1);
}

void merge_tiles(MergePlan& merge, int threads) {
  const GridLayout& layout = merge.layout;
  const LayoutAxis& last = layout.last();
  NumberVectors vectors;
  const AxisWindow* own = merge.last_window;
  TilePlan plan{merge, nullptr, nullptr, merge.window.whole.data(), 1, false,
                false, false,   1,       last.grid.length,          1, merge.rows};
  if (own != nullptr) {
    const bool divides = merge.dtype <= Dtype::kI64 || merge.method == MergeMethod::kExact;
    const std::vector<double>& factors = divides ? own->sums : own->inverse;
    vectors.weights =
        merge.width == 1 ? std::vector<double>() : repeated(own->weights, merge.width);
    vectors.factors = merge.width == 1 ? std::vector<double>() : repeated(factors, merge.width);
    const bool wide = merge.width > 1;
    if (!own->weights.empty()) plan.weights = wide ? vectors.weights.data() : own->weights.data();
    if (!factors.empty()) plan.factors = wide ? vectors.factors.data() : factors.data();
  }
  if (merge.whole.taps[layout.rank - 1] != 0 && merge.width > 1) {
    vectors.whole = repeated(merge.window.whole, merge.width);
    plan.whole = vectors.whole.data();
    plan.whole_width = merge.width;
  }
  for (int axis = 0; axis < layout.rank - 1; ++axis) {
    const AxisWindow* outer = merge.axis_window(axis);
    plan.weighted = plan.weighted || (outer != nullptr && !outer->weights.empty());
  }
  plan.chunk = std::min(last.grid.length, std::max<std::int64_t>(kTileNumbers / merge.width, 1));
  plan.chunks = (last.grid.length + plan.chunk - 1) / plan.chunk;
  if (plan.items.axes > 0) {
    std::int64_t& inner = plan.items.length[plan.items.axes - 1];
    plan.tile_rows = std::min(kTileRows, inner);
    inner = (inner + plan.tile_rows - 1) / plan.tile_rows;
  }
  const std::int64_t out_bytes =
      layout.batch * merge.rows.total() * last.grid.length * layout.element;
  plan.stream = out_bytes >= kStreamBytes;
  plan.lone = plan.weights == nullptr && !plan.weighted && merge.method != MergeMethod::kWhole;
  const std::int64_t items = layout.batch * plan.items.total() * plan.chunks;
  const std::int64_t item_bytes = std::max<std::int64_t>(merge.fragment_bytes / items, 1);
  parallel_for(
      items, std::max<std::int64_t>(kGrainBytes / item_bytes, 1), threads,
      [&](std::int64_t begin, std::int64_t end, int) { TileMerger(plan).run(begin, end); });
}

}  // namespace tokfrag
