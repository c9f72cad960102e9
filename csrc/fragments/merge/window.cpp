#include <algorithm>
#include <cmath>

#include "fragments/grid/walk.hpp"
#include "fragments/merge/merge.hpp"

namespace tokfrag {

namespace {

// No position lies in two windows.
bool lies_apart(const GridShape& grid) {
  bool apart = true;
  for (int axis = 0; axis < grid.rank; ++axis) {
    const GridAxis& at = grid.axes[axis];
    const bool even = at.last_start == (at.count - 1) * at.stride;
    apart = apart && (at.count <= 1 || (even && at.stride >= extent(at)));
  }
  return apart;
}

// A mean over lone numbers needs no weights; but zeros are refused, where there are some.
void drop_positive(MergeWindow& window) {
  for (const double weight : window.whole) {
    if (!(weight > 0)) return;
  }
  window.whole = {};
  window.per_fragment = window.constant = false;
}

// The inverses in float32; and of those that are powers of two the most that lie side by side.
void find_singles(AxisWindow& own) {
  own.singles.assign(own.inverse.begin(), own.inverse.end());
  own.fits = true;
  std::int64_t begin = 0;
  for (std::size_t p = 0; p < own.inverse.size(); ++p) {
    own.fits = own.fits && own.inverse[p] <= kMostInverse;
    int exponent = 0;
    const auto end = static_cast<std::int64_t>(p) + 1;
    if (std::frexp(own.inverse[p], &exponent) != 0.5) begin = end;
    if (end - begin <= own.exact_end - own.exact_begin) continue;
    own.exact_begin = begin;
    own.exact_end = end;
  }
}

// float32 sums of this many equal halves are exact.
constexpr std::int64_t kMostSingles = 4096;

// Halves may be summed in float32: weights are normalised, or none, and windows few.
bool sums_singles(const GridShape& grid, const MergeWindow& window) {
  bool weighted = false;
  std::int64_t most = 1;
  for (int axis = 0; axis < grid.rank; ++axis) {
    const GridAxis& at = grid.axes[axis];
    for (const double weight : window.axes[static_cast<std::size_t>(axis)].weights) {
      weighted = true;
      if (weight < 0) return false;  // normalised weights may be large, and cancel
    }
    const std::int64_t over = extent(at) / at.stride + 2;
    most = std::min(most, kMostSingles) * std::min({over, at.count, kMostSingles});
  }
  const bool folds = window.reduce == Reduce::kSum && grid.pad_mode != PadMode::kConstant;
  const bool normalised = window.reduce == Reduce::kMean || !weighted;
  return window.whole.empty() && normalised && !folds && most <= kMostSingles;
}

}  // namespace

bool prepare(const GridShape& grid, MergeWindow& window, int& axis) {
  if (lies_apart(grid) && window.reduce == Reduce::kMean) drop_positive(window);
  window.axes.resize(static_cast<std::size_t>(grid.rank));
  window.uniform = window.whole.empty();
  for (axis = 0; axis < grid.rank; ++axis) {
    const GridAxis& at = grid.axes[axis];
    AxisWindow& own = window.axes[static_cast<std::size_t>(axis)];
    bool equal = true;
    for (const double weight : own.weights) equal = equal && weight == own.weights[0];
    // A constant weight scales a sum, and means nothing else; a lone window means nothing to a
    // mean.
    const bool unit = equal && (own.weights.empty() || own.weights[0] == 1.0);
    const bool mean = window.reduce == Reduce::kMean;
    if (unit || (mean && equal && own.weights[0] != 0 && std::isfinite(own.weights[0]))) {
      own.weights.clear();
    }
    if (!mean || !window.whole.empty()) continue;

    std::vector<std::int32_t> held(static_cast<std::size_t>(at.length), 0);
    std::int32_t most = 0;
    for (std::int64_t i = 0; i < at.count; ++i) {
      const std::int64_t start = window_start(at, i);
      for (std::int64_t k = 0; k < at.size && start + k * at.dilation < at.length; ++k) {
        most = std::max(most, ++held[static_cast<std::size_t>(start + k * at.dilation)]);
      }
    }
    // Where windows do not overlap, each weight is its own normaliser; but for zeros, refused
    // below.
    bool positive = true;
    for (const double weight : own.weights) positive = positive && weight > 0;
    if (most <= 1 && positive) own.weights.clear();

    std::vector<double> sums(static_cast<std::size_t>(at.length), 0.0);
    for (std::int64_t i = 0; i < at.count; ++i) {
      const std::int64_t start = window_start(at, i);
      for (std::int64_t k = 0; k < at.size && start + k * at.dilation < at.length; ++k) {
        const double weight = own.weights.empty() ? 1.0 : own.weights[static_cast<std::size_t>(k)];
        sums[static_cast<std::size_t>(start + k * at.dilation)] += weight;
      }
    }
    own.inverse.resize(sums.size());
    for (std::size_t p = 0; p < sums.size(); ++p) {
      own.inverse[p] = held[p] > 0 ? 1.0 / sums[p] : 0.0;
      const bool finite = std::isfinite(own.inverse[p]) && std::isfinite(sums[p]);
      if (held[p] > 0 && !finite) return false;
    }
    own.sums = std::move(sums);
    find_singles(own);
  }
  for (const AxisWindow& own : window.axes) window.uniform = window.uniform && own.weights.empty();
  window.single = sums_singles(grid, window);
  return true;
}

}  // namespace tokfrag
