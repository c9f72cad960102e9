#include "core/parallel.hpp"
#include "fragments/merge_plan.hpp"
#include "fragments/merge_tile_kernel.hpp"

namespace tokfrag {

namespace {

// Shorter stretches under the same windows than this (in numbers) go faster row by row.
constexpr std::int64_t kLeastStride = 8;
// Rows of a tile: enough for the reads of one fragment to run on, few enough for the first-level
// cache to hold the lines that the next stretch shares.
constexpr std::int64_t kTileRows = 32;
// Numbers of a long row that are merged together.
constexpr std::int64_t kTileNumbers = std::int64_t{1} << 14;
constexpr std::int64_t kGrainBytes = std::int64_t{256} << 10;
// Outputs beyond this are written around the cache.
constexpr std::int64_t kStreamBytes = std::int64_t{4} << 20;

// Vectors of the innermost axis with one entry a number instead of a position.
struct NumberVectors {
  std::vector<double> weights;
  std::vector<double> factors;
};

std::vector<double> repeated(const std::vector<double>& values, std::int64_t width) {
  std::vector<double> result;
  result.reserve(values.size() * static_cast<std::size_t>(width));
  for (const double value : values)
    result.insert(result.end(), static_cast<std::size_t>(width), value);
  return result;
}

// What all threads share: the problem, cut into items of some rows along the last outer axis and
// some positions of the innermost one.
struct TilePlan {
  const MergePlan& merge;
  const double* weights;  // of the innermost axis' window; null: ones
  const double* factors;  // of its positions; null: ones
  bool weighted;
  bool stream;
  std::int64_t tile_rows;
  std::int64_t chunk;  // positions
  std::int64_t chunks;
  Odometer items;  // like the rows, but the last outer axis counts tiles
};

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
    for (std::int64_t row = 0; row < count; ++row) {
      finder_.enter(rows, row == 0 ? 0 : rows.axes - 1);
      for (const Place& place : finder_.places()) places_.push_back({place.offset, place.weight});
      const bool integers = merge_.dtype <= Dtype::kI64 || merge_.method == MergeMethod::kExact;
      rows_.push_back({nullptr, static_cast<std::int64_t>(finder_.places().size()),
                       integers ? finder_.divisor() : finder_.inverse()});
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
      merge_stretch(tile, range, out, at, next);
      at = next;
    }
  }

  // Positions [at, next), all of which lie under the same windows.
  void merge_stretch(MergeTile& tile, const WindowRange& range, char* out, std::int64_t at,
                     std::int64_t next) {
    const std::int64_t width = merge_.width;
    columns_.clear();
    for (std::int64_t window = range.first; window <= range.last; ++window) {
      const std::int64_t index = at - window_start(last_.grid, window);
      columns_.push_back({window * last_.window_stride + index * layout_.element,
                          plan_.weights == nullptr ? nullptr : plan_.weights + index * width});
    }
    tile.numbers = (next - at) * width;
    // Without weights the factor depends on the windows alone, so the stretch has one.
    const double* factors = plan_.factors == nullptr ? nullptr : plan_.factors + at * width;
    tile.factor = factors != nullptr && plan_.weights == nullptr ? factors[0] : 1.0;
    tile.factors = plan_.weights == nullptr ? nullptr : factors;
    tile.columns = columns_.data();
    tile.column_count = static_cast<std::int64_t>(columns_.size());
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
      if (merge_.method == MergeMethod::kExact) {
        kernels_.merge_exact(tile);
      } else {
        kernels_.merge[static_cast<std::size_t>(merge_.dtype)](tile);
      }
      row = stop;
    }
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
  const bool separable = plan.method == MergeMethod::kScaled || plan.method == MergeMethod::kExact;
  const bool plain = last.grid.dilation == 1 && last.tap_stride == layout.element && !plan.fold;
  const std::int64_t step = std::min(last.grid.stride, last.grid.size) * plan.width;
  return separable && aligned && plain && (step >= kLeastStride || last.grid.count == 1);
}

void merge_tiles(const MergePlan& merge, int threads) {
  const GridLayout& layout = merge.layout;
  const LayoutAxis& last = layout.last();
  NumberVectors vectors;
  const AxisWindow* own = merge.last_window;
  TilePlan plan{merge, nullptr, nullptr, false, false, 1, last.grid.length, 1, merge.rows};
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
  const std::int64_t items = layout.batch * plan.items.total() * plan.chunks;
  const std::int64_t item_bytes = std::max<std::int64_t>(merge.fragment_bytes / items, 1);
  parallel_for(
      items, std::max<std::int64_t>(kGrainBytes / item_bytes, 1), threads,
      [&](std::int64_t begin, std::int64_t end, int) { TileMerger(plan).run(begin, end); });
}

}  // namespace tokfrag
