// What is common to all windows of a call: how many there are, which sums they need, where these
// and the lags go.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/checked.hpp"
#include "fragments/features/blocks.hpp"
#include "fragments/features/features.hpp"
#include "fragments/features/results.hpp"

namespace tokfrag {

struct FeaturePlan {
  explicit FeaturePlan(const FeatureTask& given) : task(given) {
    for (int a = 0; a < task.rank; ++a) {
      windows = checked_multiply(windows, task.axes[a].count);
      window_values = checked_multiply(window_values, task.axes[a].size);
      dilated = dilated || task.axes[a].dilation != 1;
    }
    per_step = window_values / time().size;
    for (std::int64_t k = 0; k < task.column_count; ++k) {
      columns.push_back({task.columns[k], 0});
      want(task.columns[k]);
    }
    place_lags();
    in_blocks = task.rank == 1 && !dilated && blocks_hold_lags();
  }

  const FeatureAxis& time() const { return task.axes[task.time_axis]; }
  std::int64_t lag_count() const { return static_cast<std::int64_t>(lags.size()); }

  // Pairs of a window's values `lag` steps apart.
  std::int64_t pairs(std::int64_t lag) const { return (time().size - lag) * per_step; }

  const FeatureTask& task;
  SumSlots slots;
  std::vector<std::int64_t> lags;  // ascending
  std::vector<double> lag_pairs;   // of a window, for each
  std::vector<ResultColumn> columns;
  std::int64_t windows = 1;
  std::int64_t window_values = 1;
  std::int64_t per_step = 1;  // values of a window at one time
  bool dilated = false;
  bool in_blocks = false;  // a series that the block kernels take

 private:
  void want(Feature feature) {
    const auto claim = [this](int& slot) {
      if (slot < 0) slot = slots.count++;
    };
    switch (feature) {
      case Feature::kMean:
        return;
      case Feature::kStd:
      case Feature::kLagCorr:
        return claim(slots.squares);
      case Feature::kMin:
        return claim(slots.least);
      case Feature::kMax:
        return claim(slots.greatest);
      case Feature::kDiffEnergy:
        return claim(slots.differences);
    }
  }

  // Whether blocks can be as long as the longest lag: in the worst case a window's are its own.
  bool blocks_hold_lags() const {
    return lags.empty() || lags.back() <= time().size / block_parts(time().size);
  }

  void place_lags() {
    std::vector<std::pair<std::int64_t, std::size_t>> placed;  // lag, column
    for (std::size_t k = 0; k < columns.size(); ++k) {
      if (columns[k].feature == Feature::kLagCorr) placed.emplace_back(task.lags[placed.size()], k);
    }
    std::sort(placed.begin(), placed.end());
    for (const auto& [lag, column] : placed) {
      columns[column].lag = lag_count();
      lags.push_back(lag);
      lag_pairs.push_back(static_cast<double>(pairs(lag)));
    }
    slots.products = slots.count;
    slots.edges = slots.count + static_cast<int>(lag_count());
    slots.count += 2 * static_cast<int>(lag_count());
  }
};

}  // namespace tokfrag
