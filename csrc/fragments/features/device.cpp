#include "fragments/features/device.hpp"

#include "fragments/features/staged_device.hpp"

#include <stdexcept>

namespace tokfrag {

std::vector<FeatureColumns> split_columns(const std::vector<int>& codes,
                                          const std::vector<std::int64_t>& lags) {
  constexpr FeatureColumns kNone{-1, -1, -1, -1, -1, {}, {}, 0};
  std::vector<FeatureColumns> launches(1, kNone);
  std::size_t next_lag = 0;
  for (int column = 0; column < static_cast<int>(codes.size()); ++column) {
    switch (static_cast<Feature>(codes[static_cast<std::size_t>(column)])) {
      case Feature::kMean:
        launches[0].mean = column;
        break;
      case Feature::kStd:
        launches[0].std = column;
        break;
      case Feature::kMin:
        launches[0].least = column;
        break;
      case Feature::kMax:
        launches[0].greatest = column;
        break;
      case Feature::kDiffEnergy:
        launches[0].diff_energy = column;
        break;
      case Feature::kLagCorr:
        if (launches.back().lag_count == kLagsAtOnce) launches.push_back(kNone);
        FeatureColumns& last = launches.back();
        last.lag_corr[last.lag_count] = column;
        last.lags[last.lag_count++] = lags.at(next_lag++);
        break;
    }
  }
  return launches;
}

DeviceFeaturePlan make_feature_plan(const GridShape& grid, int time_axis, double pad_value,
                                    std::int64_t batch, std::int64_t channels,
                                    const std::int64_t* strides, const void* x, void* out,
                                    int column_count) {
  DeviceFeaturePlan plan{};
  plan.x = static_cast<const char*>(x);
  plan.out = out;
  plan.batch = batch;
  plan.channels = channels;
  plan.windows = 1;
  plan.batch_stride = strides[0];
  plan.channel_stride = strides[1];
  plan.rank = grid.rank;
  plan.time_axis = time_axis;
  plan.pad_mode = grid.pad_mode;
  plan.pad_value = pad_value;
  std::int64_t values = 1;
  for (int axis = 0; axis < grid.rank; ++axis) {
    plan.windows *= grid.axes[axis].count;
    values *= grid.axes[axis].size;
    plan.axes[axis].grid = grid.axes[axis];
    plan.axes[axis].stride = strides[2 + axis];
    set_divisor(plan.axes[axis].size, grid.axes[axis].size);
    set_divisor(plan.axes[axis].count, grid.axes[axis].count);
  }
  plan.time = plan.axes[time_axis];
  if (values >= kNarrowLimit) {
    throw std::invalid_argument("size: got windows of 2**31 values or more, CUDA takes fewer");
  }
  plan.values = static_cast<std::uint32_t>(values);
  plan.time_size = grid.axes[time_axis].size;
  plan.pairs_per_step = static_cast<double>(values / plan.time_size);
  plan.column_count = column_count;
  plan.inverse_values = pair_of(1 / static_cast<double>(values));
  std::int64_t below = 1;
  for (int axis = time_axis + 1; axis < grid.rank; ++axis) below *= grid.axes[axis].size;
  set_divisor(plan.time_below, below);
  set_divisor(plan.channel_divisor, channels);
  plan.one_row = grid.rank == 1 && padded_length(grid.axes[0]) <= grid.axes[0].length;
  return plan;
}

bool prepare_staged(DeviceFeaturePlan& plan) {
  const FeatureColumns& columns = plan.columns;
  std::int64_t longest = 0;
  for (int k = 0; k < kStagedSums; ++k) plan.staged_columns[k] = -1;
  for (int k = 0; k < columns.lag_count; ++k) {
    longest = columns.lags[k] > longest ? columns.lags[k] : longest;
    plan.staged_columns[k] = columns.lag_corr[k];
  }
  plan.staged_columns[kSquares] = columns.std;
  plan.staged_columns[kDifferences] = columns.diff_energy;
  plan.staged_columns[kMeans] = columns.mean;
  plan.staged_columns[kLeast] = columns.least;
  plan.staged_columns[kGreatest] = columns.greatest;
  plan.tail = plan.one_row ? static_cast<std::uint32_t>(longest) : 0;
  const std::int64_t items = plan.batch * plan.windows * plan.channels;
  return plan.values + plan.tail <= kBlockStaged && items < kNarrowLimit;
}

}  // namespace tokfrag
