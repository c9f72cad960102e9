#include "fragments/merge/small_merge.hpp"

#include <cstring>

#include "fragments/merge/plan.hpp"

namespace tokfrag {

namespace {

// Numbers of fragments up to which finding out where they go takes longer than adding them.
constexpr std::int64_t kMostNumbers = 1024;

std::int32_t count_of(std::size_t entries) { return static_cast<std::int32_t>(entries); }

// Arrays may lie at any address.
double number_at(const char* from) {
  float number;
  std::memcpy(&number, from, sizeof number);
  return static_cast<double>(number);
}

}  // namespace

std::unique_ptr<const SmallMerge> SmallMerge::make(const GridLayout& layout, const GridShape& grid,
                                                   const MergeWindow& window, Dtype dtype) {
  const bool folds = window.reduce == Reduce::kSum && layout.pad_mode != PadMode::kConstant;
  if (dtype != Dtype::kF32 || window.reduce > Reduce::kSum || folds || !window.whole.empty()) {
    return nullptr;
  }
  const std::int64_t width = layout.element / layout.item;
  std::int64_t numbers = layout.batch * width;
  std::int64_t results = layout.batch * width;
  for (int axis = 0; axis < layout.rank; ++axis) {
    const GridAxis& at = layout.axes[axis].grid;
    // One by one: a product of all may be too large for an integer.
    if (at.length > kMostNumbers || at.count > kMostNumbers || at.size > kMostNumbers) {
      return nullptr;
    }
    numbers *= at.count * at.size;
    results *= at.length;
    if (numbers > kMostNumbers || results > kMostNumbers) return nullptr;
  }
  if (results == 0) return nullptr;
  std::unique_ptr<SmallMerge> made(new SmallMerge());
  made->batch_ = layout.batch;
  made->batch_step_ = layout.fragment_batch_stride;
  made->width_ = width;
  made->add_rows(layout, grid, window);
  const LayoutAxis& last = layout.last();
  made->add_positions(
      last, last.source < 0 ? nullptr : &window.axes[static_cast<std::size_t>(last.source)]);
  return made;
}

void SmallMerge::add_rows(const GridLayout& layout, const GridShape& grid,
                          const MergeWindow& window) {
  const WeightPlan plan{layout, window, false, whole_steps(layout, grid, window)};
  PlaceFinder finder(plan);
  Odometer rows;
  rows.axes = layout.rank - 1;
  bool weighted = false;
  for (int axis = 0; axis < rows.axes; ++axis) {
    rows.length[axis] = layout.axes[axis].grid.length;
    const AxisWindow* own = plan.axis_window(axis);
    weighted = weighted || (own != nullptr && !own->weights.empty());
  }
  std::vector<double> weights;
  int moved = 0;
  for (std::int64_t row = rows.total(); row > 0; --row, moved = rows.advance()) {
    finder.enter(rows, moved);
    weights.assign(finder.places().size(), 1.0);
    if (weighted) {
      weights.clear();
      finder.append_weights(rows, 1, weights);
    }
    const std::int32_t first = count_of(places_.size());
    for (std::size_t place = 0; place < weights.size(); ++place) {
      places_.push_back({finder.places()[place].offset, weights[place]});
    }
    rows_.push_back({first, count_of(places_.size()), finder.inverse()});
  }
}

void SmallMerge::add_positions(const LayoutAxis& last, const AxisWindow* own) {
  std::vector<Tap> taps;
  for (std::int64_t position = 0; position < last.grid.length; ++position) {
    taps.clear();
    append_taps(last.grid, position, taps);
    const std::int32_t first = count_of(taps_.size());
    for (const Tap& tap : taps) {
      const bool weighted = own != nullptr && !own->weights.empty();
      taps_.push_back({tap.window * last.window_stride + tap.index * last.tap_stride,
                       weighted ? own->weights[static_cast<std::size_t>(tap.index)] : 1.0});
    }
    const bool normal = own != nullptr && !own->inverse.empty();
    positions_.push_back({first, count_of(taps_.size()),
                          normal ? own->inverse[static_cast<std::size_t>(position)] : 1.0});
  }
}

void SmallMerge::run(const void* fragments, void* out, const void* fill) const {
  constexpr std::int64_t kItem = sizeof(float);
  auto* to = static_cast<char*>(out);
  const auto put = [&](const void* number) {
    std::memcpy(to, number, kItem);
    to += kItem;
  };
  for (std::int64_t batch = 0; batch < batch_; ++batch) {
    const char* from = static_cast<const char*>(fragments) + batch * batch_step_;
    for (const Range& row : rows_) {
      const Source* const places = places_.data() + row.first;
      const Source* const end = places_.data() + row.end;
      for (const Range& position : positions_) {
        const double factor = row.factor * position.factor;
        for (std::int64_t i = 0; i < width_; ++i) {
          if (places == end || position.first == position.end) {
            put(fill);
            continue;
          }
          double sum = -0.0;  // to which anything may be added without a trace
          for (std::int32_t at = position.first; at < position.end; ++at) {
            const Source& tap = taps_[static_cast<std::size_t>(at)];
            const char* number = from + tap.offset + i * kItem;
            double placed = places->weight * number_at(number + places->offset);
            for (const Source* place = places + 1; place != end; ++place) {
              placed += place->weight * number_at(number + place->offset);
            }
            sum += tap.weight * placed;
          }
          const auto rounded = static_cast<float>(sum * factor);
          put(&rounded);
        }
      }
    }
  }
}

}  // namespace tokfrag
