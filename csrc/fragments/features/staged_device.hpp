// fragment_features on a GPU for numbers that floats hold exactly: the lanes of a group bring a
// window into shared memory once, and all sums are made from there.
//
// Nothing is computed in double, which most GPUs do slowly. The mean comes of a sum in pairs of
// floats; the deviations from it are scaled by a power of two, so that no square of them overflows
// or vanishes; their products are fused, and added up in float: some 48 a lane at the most.
#pragma once

#include <cstdint>

#include "core/device/pair.hpp"
#include "fragments/features/device.hpp"

namespace tokfrag {

// Values of a window that shared memory holds: of a warp's, or of a block's.
constexpr std::uint32_t kWarpStaged = 1472;
constexpr std::uint32_t kBlockStaged = 11776;

// Numbers that floats hold.
template <class T>
constexpr bool kIsStaged = kIsHalf<T> || std::is_same_v<T, float> || sizeof(T) <= 2;

// The sums that lanes make of deviations, and who of a warp writes which column: lane k the k-th.
enum StagedSum { kProducts = 0, kSquares = kLagsAtOnce, kDifferences, kMeans, kLeast, kGreatest };
constexpr int kStagedSums = 16;
static_assert(kGreatest < kStagedSums, "a lane for each column");

struct StagedFirst {
  Pair sum;
  float least;
  float greatest;
};

struct StagedSecond {
  float sums[kStagedSums];
};

// A window's mean and scale, once all of its values are known.
struct StagedCenter {
  float mean;
  float high;   // the mean times the scale
  float low;    // what that has lost
  float scale;  // of deviations: a power of two
};

TOKFRAG_HOST_DEVICE inline FeatureWindow find_window(const DeviceFeaturePlan& plan,
                                                     std::uint32_t item) {
  FeatureWindow at{};
  at.out = static_cast<std::int64_t>(item) * plan.column_count;
  std::uint32_t rest = item;
  const auto channel = static_cast<std::int64_t>(take_digit(rest, plan.channel_divisor));
  TOKFRAG_UNROLL
  for (int axis = kMaxAxes - 1; axis >= 0; --axis) {
    if (axis >= plan.rank) continue;
    const GridAxis& grid = plan.axes[axis].grid;
    const auto window = static_cast<std::int64_t>(take_digit(rest, plan.axes[axis].count));
    at.start[axis] = window_start(grid, window);
    if (axis == plan.time_axis) at.time_start = at.start[axis];
  }
  at.data =
      plan.x + static_cast<std::int64_t>(rest) * plan.batch_stride + channel * plan.channel_stride;
  return at;
}

// Brings a lane's values into `data`, and sums them.
template <class T>
TOKFRAG_HOST_DEVICE inline StagedFirst stage_window(const DeviceFeaturePlan& plan,
                                                    const FeatureWindow& at, float* data,
                                                    std::uint32_t lane, std::uint32_t lanes) {
  StagedFirst first{{0, 0}, 0, 0};
  const FeaturePlanAxis& row = plan.axes[0];
  const char* begin = at.data + at.start[0] * row.stride;
  const std::int64_t step = row.grid.dilation * row.stride;
  bool none = true;
  for (std::uint32_t v = lane; v < plan.values; v += lanes) {
    float value;
    if (plan.one_row) {
      value = read_value<float, T>(begin + static_cast<std::int64_t>(v) * step);
    } else {
      const TimeLine line = find_line(plan, at, v);
      value = value_at<float, T>(plan, at, line, line.step);
    }
    data[v] = value;
    first.sum = first.sum + value;
    if (none) first.least = first.greatest = value;
    none = false;
    keep_least(first.least, value);
    keep_greatest(first.greatest, value);
  }
  if (none) {  // a lane without a value repeats what another has
    const TimeLine line = find_line(plan, at, 0);
    first.least = first.greatest = value_at<float, T>(plan, at, line, line.step);
  }
  // Behind the last time all lagged products are 0.
  for (std::uint32_t v = lane; v < plan.tail; v += lanes) data[plan.values + v] = 0;
  return first;
}

TOKFRAG_HOST_DEVICE inline void add_sums(StagedFirst& into, const StagedFirst& from) {
  into.sum = into.sum + from.sum;
  keep_least(into.least, from.least);
  keep_greatest(into.greatest, from.greatest);
}

TOKFRAG_HOST_DEVICE inline void add_sums(StagedSecond& into, const StagedSecond& from) {
  TOKFRAG_UNROLL
  for (int k = 0; k < kStagedSums; ++k) into.sums[k] += from.sums[k];
}

// Whether the sum of the window has left what floats hold, so that it is made again of `lifted`
// values.
constexpr float kSumLift = 0x1p-40F;
TOKFRAG_HOST_DEVICE inline bool overflows(const StagedFirst& first) {
  return !(first.sum.high - first.sum.high == 0);
}
TOKFRAG_HOST_DEVICE inline Pair lifted_sum(const DeviceFeaturePlan& plan, const float* data,
                                           std::uint32_t lane, std::uint32_t lanes) {
  Pair sum{0, 0};
  for (std::uint32_t v = lane; v < plan.values; v += lanes) sum = sum + data[v] * kSumLift;
  return sum;
}

// The power of two next below the inverse of a spread; 1 if it is 0 or not finite.
TOKFRAG_HOST_DEVICE inline float scale_of_spread(float least, float greatest) {
  const float half = greatest * 0.5F - least * 0.5F;
  std::uint32_t bits;
  std::memcpy(&bits, &half, sizeof bits);
  const std::uint32_t exponent = (bits >> 23) & 255;  // of half the spread, and 127
  if (half == 0 || exponent == 255) return 1;
  std::uint32_t inverse = exponent >= 252 ? 1 : 252 - exponent;
  inverse = inverse > 252 ? 252 : inverse;
  bits = inverse << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return scale;
}

// `lift`: what the values were multiplied by before `first` summed them.
TOKFRAG_HOST_DEVICE inline StagedCenter center_of(const DeviceFeaturePlan& plan,
                                                  const StagedFirst& first, float lift) {
  StagedCenter center;
  center.scale = scale_of_spread(first.least, first.greatest);
  const Pair mean = first.sum * plan.inverse_values;
  const float high = rounded(mean);
  const float low = mean.low - (high - mean.high);
  center.mean = high / lift;
  center.high = center.mean * center.scale;
  center.low = low - low == 0 ? low / lift * center.scale : 0;
  return center;
}

// Squared differences of neighbours in time, of the values as they are.
TOKFRAG_HOST_DEVICE inline float staged_differences(const DeviceFeaturePlan& plan,
                                                    const StagedCenter& center, const float* data,
                                                    std::uint32_t lane, std::uint32_t lanes) {
  float sum = 0;
  if (plan.columns.diff_energy < 0) return sum;
  for (std::uint32_t v = lane; v < plan.values; v += lanes) {
    std::uint32_t rest = plan.time_below.quotient(v);
    if (take_digit(rest, plan.time.size) + 1 >= plan.time.size.value) continue;
    const float difference =
        data[v + plan.time_below.value] * center.scale - data[v] * center.scale;
    sum = fused(difference, difference, sum);
  }
  return sum;
}

// A lane's values become deviations from the mean, scaled.
TOKFRAG_HOST_DEVICE inline void center_values(const DeviceFeaturePlan& plan,
                                              const StagedCenter& center, float* data,
                                              std::uint32_t lane, std::uint32_t lanes) {
  for (std::uint32_t v = lane; v < plan.values; v += lanes) {
    data[v] = (data[v] * center.scale - center.high) - center.low;
  }
}

// Sums over a lane's deviations; `differences` come along.
TOKFRAG_HOST_DEVICE inline StagedSecond staged_sums(const DeviceFeaturePlan& plan,
                                                    const float* data, float differences,
                                                    std::uint32_t lane, std::uint32_t lanes) {
  StagedSecond second{};
  const FeatureColumns& columns = plan.columns;
  float* sums = second.sums;
  sums[kDifferences] = differences;
  if (plan.one_row) {
    const float* lagged[kLagsAtOnce];
    TOKFRAG_UNROLL
    for (int k = 0; k < kLagsAtOnce; ++k) {
      lagged[k] = data + (k < columns.lag_count ? columns.lags[k] : 0);
    }
    for (std::uint32_t v = lane; v < plan.values; v += lanes) {
      const float value = data[v];
      sums[kSquares] = fused(value, value, sums[kSquares]);
      TOKFRAG_UNROLL
      for (int k = 0; k < kLagsAtOnce; ++k) {
        if (k < columns.lag_count) sums[k] = fused(value, lagged[k][v], sums[k]);
      }
    }
    return second;
  }
  for (std::uint32_t v = lane; v < plan.values; v += lanes) {
    const float value = data[v];
    sums[kSquares] = fused(value, value, sums[kSquares]);
    std::uint32_t rest = plan.time_below.quotient(v);
    const std::uint32_t step = take_digit(rest, plan.time.size);
    TOKFRAG_UNROLL
    for (int k = 0; k < kLagsAtOnce; ++k) {
      if (k >= columns.lag_count) continue;
      const auto lag = static_cast<std::uint32_t>(columns.lags[k]);
      if (step + lag >= plan.time.size.value) continue;
      sums[k] = fused(value, data[v + lag * plan.time_below.value], sums[k]);
    }
  }
  return second;
}

// Lane `lane` of a window's first 16 writes its column. `own`: the sum of that number over the
// window; `squares`: that of kSquares.
template <class Out>
TOKFRAG_HOST_DEVICE inline void write_staged(const DeviceFeaturePlan& plan, const FeatureWindow& at,
                                             const StagedFirst& first, const StagedCenter& center,
                                             int lane, float own, float squares) {
  const int column = plan.staged_columns[lane];
  if (column < 0) return;
  const bool constant = first.least == first.greatest;
  float value = constant ? 0 : own / squares;
  if (lane == kSquares) {
    value = constant ? 0 : sqrtf(own * plan.inverse_values.high) / center.scale;
  } else if (lane == kDifferences) {
    const float pairs =
        static_cast<float>(plan.time_size - 1) * static_cast<float>(plan.pairs_per_step);
    value = pairs > 0 ? own / pairs / center.scale / center.scale : 0;
  } else if (lane == kMeans) {
    value = center.mean;
  } else if (lane == kLeast) {
    value = first.least;
  } else if (lane == kGreatest) {
    value = first.greatest;
  }
  static_cast<Out*>(plan.out)[at.out + column] = number_of<Out>(value);
}

// True if 32-bit numbers count the windows, and shared memory holds one. Fills in what the lanes
// want to know of a launch's columns.
bool prepare_staged(DeviceFeaturePlan& plan);

}  // namespace tokfrag
