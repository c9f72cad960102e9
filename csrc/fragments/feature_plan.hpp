// What is common to all windows of a call: how many there are, which sums they need, where these
// and the lags go.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/checked.hpp"
#include "fragments/features.hpp"

namespace tokfrag {

struct FeaturePlan {
  explicit FeaturePlan(const FeatureTask& given) : task(given) {
    const FeatureAxis& time = task.axes[task.time_axis];
    for (int a = 0; a < task.rank; ++a) {
      windows = checked_multiply(windows, task.axes[a].count);
      window_values = checked_multiply(window_values, task.axes[a].size);
      dilated = dilated || task.axes[a].dilation != 1;
    }
    per_step = window_values / time.size;
    for (std::int64_t k = 0; k < task.column_count; ++k) want(task.columns[k]);
    lag_order.resize(static_cast<std::size_t>(task.lag_count));
    for (std::size_t k = 0; k < lag_order.size(); ++k) lag_order[k] = k;
    std::sort(lag_order.begin(), lag_order.end(),
              [&](std::size_t a, std::size_t b) { return task.lags[a] < task.lags[b]; });
    for (const std::size_t k : lag_order) lags.push_back(task.lags[k]);
    lag_column.resize(lags.size());
    std::size_t next = 0;
    for (std::int64_t k = 0; k < task.column_count; ++k) {
      if (task.columns[k] == Feature::kLagCorr) lag_column[next++] = k;
    }
    slots.products = slots.count;
    slots.edges = slots.count + static_cast<int>(lags.size());
    slots.count += 2 * static_cast<int>(lags.size());
  }

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

  const FeatureTask& task;
  SumSlots slots;
  std::vector<std::int64_t> lags;        // ascending
  std::vector<std::size_t> lag_order;    // where each was among the task's lags
  std::vector<std::int64_t> lag_column;  // of the task's lags
  std::int64_t windows = 1;
  std::int64_t window_values = 1;
  std::int64_t per_step = 1;  // values of a window at one time
  bool dilated = false;
};

}  // namespace tokfrag
