#include <algorithm>

#include "core/parallel.hpp"
#include "fragments/merge/tile_merger.hpp"

namespace tokfrag {

namespace {

// Sums that are kept together, in numbers: 16 KiB of doubles, half of a first-level cache.
constexpr std::int64_t kHeldNumbers = 2048;
// Rows that are merged together: enough for the reads of one fragment to run on.
constexpr std::int64_t kTileRows = 32;
// Numbers of a long row that are merged together.
constexpr std::int64_t kTileNumbers = std::int64_t{1} << 14;
// Windows closer together than this, in numbers, leave their sums until the row's end.
constexpr std::int64_t kLeastStride = 8;
// Fragment bytes read that are worth a thread.
constexpr std::int64_t kGrainBytes = std::int64_t{256} << 10;
// Outputs beyond this are written around the cache.
constexpr std::int64_t kStreamBytes = std::int64_t{4} << 20;

template <class Values>
std::vector<double> repeated(const Values& values, std::int64_t width) {
  std::vector<double> result;
  result.reserve(values.size() * static_cast<std::size_t>(width));
  for (const double value : values) {
    result.insert(result.end(), static_cast<std::size_t>(width), value);
  }
  return result;
}

}  // namespace

void merge_pieces(MergePlan& merge, int threads) {
  const GridLayout& layout = merge.layout;
  const LayoutAxis& last = layout.last();
  const GridAxis& axis = last.grid;
  TilePlan plan{merge};
  const std::int64_t width = merge.width;
  const AxisWindow* own = merge.last_window;
  const bool whole = merge.method == MergeMethod::kWhole;
  plan.divides = merge.dtype <= Dtype::kI64 || merge.method == MergeMethod::kExact;
  std::vector<double> weights;
  std::vector<double> factors;
  std::vector<double> own_weights;
  const auto for_each_number = [&](const std::vector<double>& values, std::vector<double>& kept) {
    if (values.empty() || width == 1) return values.empty() ? nullptr : values.data();
    kept = repeated(values, width);
    return static_cast<const double*>(kept.data());
  };
  if (own != nullptr) {
    plan.weights = for_each_number(own->weights, weights);
    plan.factors = for_each_number(plan.divides ? own->sums : own->inverse, factors);
  }
  plan.whole = merge.window.whole.data();
  if (whole && width > 1 && merge.whole.taps[layout.rank - 1] != 0) {
    // Not those of all windows: they are many.
    plan.spread = merge.window.per_fragment;
    if (!plan.spread) {
      own_weights = repeated(merge.window.whole, width);
      plan.whole = own_weights.data();
      plan.whole_width = width;
    }
  }
  if (whole) plan.kind = merge.whole.taps[layout.rank - 1] == 0 ? kRowWeights : kOwnWeights;
  for (int outer = 0; outer < layout.rank - 1 && !whole; ++outer) {
    const AxisWindow* window = merge.axis_window(outer);
    if (window != nullptr && !window->weights.empty()) plan.kind = kPlaceWeights;
  }
  const bool sums = merge.method != MergeMethod::kExtreme && merge.method != MergeMethod::kExact &&
                    merge.method != MergeMethod::kOrder;
  const std::int64_t step = std::min(axis.stride, axis.size) * width;
  plan.leaves =
      sums && !merge.fold && axis.dilation == 1 && (step >= kLeastStride || axis.count == 1);
  plan.items = merge.rows;
  const std::int64_t room = plan.leaves ? kTileNumbers : kHeldNumbers;
  const auto chunk_of = [&](std::int64_t numbers) {
    return std::min(axis.length, std::max<std::int64_t>(numbers / width, 1));
  };
  plan.chunk = merge.fold ? axis.length : chunk_of(room);
  if (plan.items.axes > 0) {
    const std::int64_t held = (plan.leaves ? std::min(axis.size, plan.chunk) : plan.chunk) * width;
    std::int64_t& inner = plan.items.length[plan.items.axes - 1];
    plan.tile_rows = std::clamp<std::int64_t>(kHeldNumbers / held, 1, std::min(kTileRows, inner));
    inner = (inner + plan.tile_rows - 1) / plan.tile_rows;
  }
  // Few enough that the weights of all windows over a tile stay in the cache for all planes.
  if (plan.leaves && merge.window.per_fragment) plan.chunk = chunk_of(room / plan.tile_rows);
  plan.chunks = (axis.length + plan.chunk - 1) / plan.chunk;
  // The rows of a plane lie along a later axis.
  plan.channels = plan.items.axes > 1 && layout.axes[0].source < 0;
  plan.planes = layout.batch * (plan.channels ? plan.items.length[0] : 1);
  const std::int64_t out_bytes = layout.batch * merge.rows.total() * axis.length * layout.element;
  plan.stream = out_bytes >= kStreamBytes;
  const std::int64_t items = layout.batch * plan.items.total() * plan.chunks;
  const std::int64_t item_bytes = std::max<std::int64_t>(merge.fragment_bytes / items, 1);
  parallel_for(
      items, std::max<std::int64_t>(kGrainBytes / item_bytes, 1), threads,
      [&](std::int64_t begin, std::int64_t end, int) { TileMerger(plan).run(begin, end); });
}

}  // namespace tokfrag
