#include <algorithm>
#include <cmath>

#include "fragments/grid_walk.hpp"
#include "fragments/merge.hpp"

namespace tokfrag {

bool prepare(const GridShape& grid, MergeWindow& window, int& axis) {
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
  }
  for (const AxisWindow& own : window.axes) window.uniform = window.uniform && own.weights.empty();
  return true;
}

}  // namespace tokfrag
