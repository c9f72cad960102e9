#include "fragments/merge/merge.hpp"

#include "fragments/merge/tile_merger.hpp"

namespace tokfrag {

namespace {

// Which positions of the axis some window holds; empty if all are held.
std::vector<char> covered_positions(const GridAxis& axis, PadMode mode, bool fold) {
  const bool everywhere =
      axis.dilation == 1 && axis.stride <= axis.size && axis.last_start + axis.size >= axis.length;
  if (everywhere) return {};
  std::vector<char> covered(static_cast<std::size_t>(axis.length), 0);
  for (std::int64_t window = 0; window < axis.count; ++window) {
    for (std::int64_t k = 0; k < axis.size; ++k) {
      const std::int64_t position = window_start(axis, window) + k * axis.dilation;
      const std::int64_t source =
          position < axis.length || fold ? source_position(axis.length, mode, position) : kNoSource;
      if (source != kNoSource) covered[static_cast<std::size_t>(source)] = 1;
    }
  }
  return covered;
}

MergeMethod choose_method(const MergeWindow& window, Dtype dtype) {
  if (window.reduce >= Reduce::kMedian) return MergeMethod::kOrder;
  if (window.reduce >= Reduce::kMax) return MergeMethod::kExtreme;
  if (!window.whole.empty()) return MergeMethod::kWhole;
  const bool exact = dtype == Dtype::kF64 && window.reduce == Reduce::kMean && window.uniform;
  if (exact) return MergeMethod::kExact;
  const bool half = dtype == Dtype::kF16 || dtype == Dtype::kBF16;
  const bool byte = dtype == Dtype::kU8 && window.uniform;  // sums of few bytes are exact
  return (half || byte) && window.single ? MergeMethod::kSingle : MergeMethod::kScaled;
}

}  // namespace

bool merge(const GridLayout& layout, const GridShape& grid, const MergeWindow& window, Dtype dtype,
           const void* fragments, void* out, const void* fill, int threads) {
  const LayoutAxis& last = layout.last();
  const bool fold = window.reduce == Reduce::kSum && layout.pad_mode != PadMode::kConstant;
  MergePlan plan{{layout, window, fold, whole_steps(layout, grid, window)},
                 static_cast<const char*>(fragments),
                 static_cast<char*>(out),
                 static_cast<const char*>(fill),
                 dtype,
                 choose_method(window, dtype),
                 layout.element / layout.item,
                 {},
                 nullptr,
                 {},
                 layout.batch * last.grid.count * last.grid.size * layout.element};
  plan.rows.axes = layout.rank - 1;
  for (int axis = 0; axis < layout.rank - 1; ++axis) {
    const GridAxis& at = layout.axes[axis].grid;
    plan.rows.length[axis] = at.length;
    plan.fragment_bytes *= at.count * at.size;
  }
  if (layout.batch == 0 || last.grid.length == 0 || plan.rows.total() == 0) return true;
  plan.last_window = plan.axis_window(layout.rank - 1);
  plan.last_covered = covered_positions(last.grid, layout.pad_mode, plan.fold);
  merge_pieces(plan, threads);
  return !plan.zero_sum.load();
}

}  // namespace tokfrag
