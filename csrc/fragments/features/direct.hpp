// The features of one window by their definition: for windows that shared sums do not serve.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "fragments/features/plan.hpp"

namespace tokfrag {

// Offsets may be negative (negative strides), so a row of padding has one that none can have.
constexpr std::int64_t kPadOffset = std::numeric_limits<std::int64_t>::min();

class DirectFeatures {
 public:
  explicit DirectFeatures(const FeaturePlan& plan) : plan_(plan), task_(plan.task) {}

  // The columns of a window of the values at `data`.
  const double* columns(const char* data, std::int64_t window) {
    gather(data, window);
    const auto count = static_cast<double>(plan_.window_values);
    double least = values_[0];
    double greatest = values_[0];
    const double base = std::isfinite(values_[0]) ? values_[0] : 0;
    double sum = 0;
    for (const double value : values_) {
      sum += value - base;
      if (value < least || std::isnan(value)) least = value;
      if (value > greatest || std::isnan(value)) greatest = value;
    }
    const double mean = base + sum / count;
    for (double& value : values_) value -= mean;
    double squares = 0;
    for (const double value : values_) squares += value * value;
    const bool constant = least == greatest && std::isfinite(least);

    columns_.resize(static_cast<std::size_t>(task_.column_count));
    for (std::size_t k = 0; k < columns_.size(); ++k) {
      switch (task_.columns[k]) {
        case Feature::kMean:
          columns_[k] = mean;
          break;
        case Feature::kStd:
          columns_[k] = constant ? 0.0 : std::sqrt(squares / count);
          break;
        case Feature::kMin:
          columns_[k] = least;
          break;
        case Feature::kMax:
          columns_[k] = greatest;
          break;
        case Feature::kDiffEnergy: {
          const std::int64_t pairs = plan_.pairs(1);
          const double energy = pair_sum(1, [](double a, double b) { return (b - a) * (b - a); });
          columns_[k] = pairs > 0 ? energy / static_cast<double>(pairs) : 0.0;
          break;
        }
        case Feature::kLagCorr: {
          const std::int64_t lag = plan_.lags[static_cast<std::size_t>(plan_.columns[k].lag)];
          const double product = pair_sum(lag, [](double a, double b) { return a * b; });
          columns_[k] = constant || squares == 0 ? 0.0 : product / squares;
          break;
        }
      }
    }
    return columns_.data();
  }

 private:
  template <class Term>
  double pair_sum(std::int64_t lag, const Term& term) const {
    std::int64_t step = 1;
    for (int a = task_.time_axis + 1; a < task_.rank; ++a) step *= task_.axes[a].size;
    const std::int64_t block = step * plan_.time().size;
    double total = 0;
    for (std::int64_t begin = 0; begin < plan_.window_values; begin += block) {
      for (std::int64_t k = begin; k < begin + block - lag * step; ++k) {
        total += term(values_[static_cast<std::size_t>(k)],
                      values_[static_cast<std::size_t>(k + lag * step)]);
      }
    }
    return total;
  }

  void gather(const char* data, std::int64_t window) {
    std::int64_t origin[kMaxFeatureAxes];
    std::int64_t tap[kMaxFeatureAxes] = {};
    for (int a = task_.rank - 1; a >= 0; --a) {
      origin[a] = task_.axes[a].starts[window % task_.axes[a].count];
      window /= task_.axes[a].count;
    }
    values_.resize(static_cast<std::size_t>(plan_.window_values));
    const auto read = feature_kernels().load[static_cast<int>(task_.type)];
    for (double& value : values_) {
      std::int64_t offset = 0;
      for (int a = 0; a < task_.rank && offset != kPadOffset; ++a) {
        const FeatureAxis& axis = task_.axes[a];
        const std::int64_t source =
            source_position(axis.length, task_.pad_mode, origin[a] + tap[a] * axis.dilation);
        offset = source < 0 ? kPadOffset : offset + source * axis.stride;
      }
      value = task_.pad_value;
      if (offset != kPadOffset) read(data + offset, 0, 1, 0.0, &value);
      for (int a = task_.rank - 1; a >= 0 && ++tap[a] == task_.axes[a].size; --a) tap[a] = 0;
    }
  }

  const FeaturePlan& plan_;
  const FeatureTask& task_;
  std::vector<double> values_, columns_;
};

}  // namespace tokfrag
