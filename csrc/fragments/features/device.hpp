// fragment_features on a GPU: what one lane of the group that takes a window does, and the plan
// that the host makes for all of them.
//
// A group of lanes takes one fragment of one channel: first its mean and extremes, then, around
// that mean, its squares, differences and lagged products; both times each lane sums every
// kLanes-th value in double, and the lanes' sums are added in a fixed order. The second reading
// comes from the cache. So every window is done as the CPU kernel does ill-conditioned ones
// (features.hpp).
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/device/divide.hpp"
#include "core/device/numbers.hpp"
#include "core/device/pair.hpp"
#include "core/device/units.hpp"
#include "core/dtype.hpp"
#include "fragments/features/features.hpp"
#include "fragments/grid/grid.hpp"

namespace tokfrag {

constexpr int kLagsAtOnce = 8;  // more take another launch

struct FeaturePlanAxis {
  GridAxis grid;
  std::int64_t stride;  // bytes, in the data
  Divisor<std::uint32_t> size;
  Divisor<std::uint32_t> count;  // of windows; wrong from 2^31 windows on
};

// Columns of the output; -1: not wanted.
struct FeatureColumns {
  int mean;
  int std;
  int least;
  int greatest;
  int diff_energy;
  int lag_corr[kLagsAtOnce];
  std::int64_t lags[kLagsAtOnce];
  int lag_count;
};

struct DeviceFeaturePlan {
  const char* x;  // (batch, channels, *axes)
  void* out;      // (batch, windows, channels, columns), contiguous
  std::int64_t batch, channels, windows;
  std::int64_t batch_stride, channel_stride;  // bytes
  int rank;
  int time_axis;
  PadMode pad_mode;
  double pad_value;
  FeaturePlanAxis axes[kMaxAxes];
  FeaturePlanAxis time;    // the one of them that differences and lags run along
  std::uint32_t values;    // of a window
  std::int64_t time_size;  // of a window
  double pairs_per_step;   // values of a window at one time
  int column_count;
  FeatureColumns columns;
  // Of windows in shared memory; see staged_device.hpp.
  Divisor<std::uint32_t> channel_divisor;
  Divisor<std::uint32_t> time_below;  // values from one time to the next
  Pair inverse_values;
  bool one_row;        // one axis, and no window beyond it
  std::uint32_t tail;  // zeros behind a window
  int staged_columns[16];
};

// The columns of each launch: `codes` (of Feature) one a column, those of kLagCorr taking `lags` in
// order.
std::vector<FeatureColumns> split_columns(const std::vector<int>& codes,
                                          const std::vector<std::int64_t>& lags);

// All but the columns. Strides in bytes: (batch, channels, *axes). `out` is contiguous.
DeviceFeaturePlan make_feature_plan(const GridShape& grid, int time_axis, double pad_value,
                                    std::int64_t batch, std::int64_t channels,
                                    const std::int64_t* strides, const void* x, void* out,
                                    int column_count);

// One window of one channel.
struct FeatureWindow {
  const char* data;
  std::int64_t start[kMaxAxes];
  std::int64_t time_start;  // on the time axis
  std::int64_t out;         // its first column
};

// Where the values at all times lie that a window has at the same place.
struct TimeLine {
  std::int64_t offset;  // bytes, the time axis left out
  std::int64_t step;    // the time of the value it was found for
  bool inside;          // not beyond some other axis
};

// What a lane sums, or all together.
struct FirstSums {
  double sum;  // of the values less the window's first one
  double least;
  double greatest;
};
struct SecondSums {
  double squares;
  double differences;
  double products[kLagsAtOnce];
};

TOKFRAG_HOST_DEVICE inline FeatureWindow find_window(const DeviceFeaturePlan& plan,
                                                     std::int64_t item) {
  FeatureWindow at{};
  const std::int64_t channel = item % plan.channels;
  std::int64_t rest = item / plan.channels;
  const std::int64_t batch = rest / plan.windows;
  at.data = plan.x + batch * plan.batch_stride + channel * plan.channel_stride;
  at.out = item * plan.column_count;
  rest %= plan.windows;
  TOKFRAG_UNROLL
  for (int axis = kMaxAxes - 1; axis >= 0; --axis) {
    if (axis >= plan.rank) continue;
    const GridAxis& grid = plan.axes[axis].grid;
    at.start[axis] = window_start(grid, rest % grid.count);
    if (axis == plan.time_axis) at.time_start = at.start[axis];
    rest /= grid.count;
  }
  return at;
}

template <class Real, class T>
TOKFRAG_HOST_DEVICE inline Real read_value(const char* from) {
  if constexpr (std::is_same_v<T, bool>) {
    return *from != 0 ? Real(1) : Real(0);
  } else {
    T number;
    const auto unit = load_unit<static_cast<int>(sizeof(T))>(from);
    std::memcpy(&number, &unit, sizeof number);
    if constexpr (kIsHalf<T>) {
      return static_cast<Real>(value_of(number));
    } else {
      return static_cast<Real>(number);
    }
  }
}

// The time line of the window's value of number `value`.
TOKFRAG_HOST_DEVICE inline TimeLine find_line(const DeviceFeaturePlan& plan,
                                              const FeatureWindow& at, std::uint32_t value) {
  TimeLine line{0, 0, true};
  TOKFRAG_UNROLL
  for (int axis = kMaxAxes - 1; axis >= 0; --axis) {
    if (axis >= plan.rank) continue;
    const FeaturePlanAxis& along = plan.axes[axis];
    const std::uint32_t tap = take_digit(value, along.size);
    if (axis == plan.time_axis) {
      line.step = tap;
      continue;
    }
    std::int64_t position = at.start[axis] + tap * along.grid.dilation;
    if (position >= along.grid.length) {
      position = source_position(along.grid.length, plan.pad_mode, position);
      line.inside = line.inside && position != kNoSource;
    }
    line.offset += position * along.stride;
  }
  return line;
}

// The value of a time line at some step of the window.
template <class Real, class T>
TOKFRAG_HOST_DEVICE inline Real value_at(const DeviceFeaturePlan& plan, const FeatureWindow& at,
                                         const TimeLine& line, std::int64_t step) {
  const GridAxis& time = plan.time.grid;
  std::int64_t position = at.time_start + step * time.dilation;
  if (position >= time.length) position = source_position(time.length, plan.pad_mode, position);
  if (!line.inside || position == kNoSource) return static_cast<Real>(plan.pad_value);
  return read_value<Real, T>(at.data + line.offset + position * plan.time.stride);
}

template <class T>
TOKFRAG_HOST_DEVICE inline double first_value(const DeviceFeaturePlan& plan,
                                              const FeatureWindow& at) {
  return value_at<double, T>(plan, at, find_line(plan, at, 0), 0);
}

// A NaN stays: no comparison replaces it.
template <class Real>
TOKFRAG_HOST_DEVICE inline void keep_least(Real& least, Real value) {
  if (value < least || value != value) least = value;
}
template <class Real>
TOKFRAG_HOST_DEVICE inline void keep_greatest(Real& greatest, Real value) {
  if (value > greatest || value != value) greatest = value;
}

template <class T>
TOKFRAG_HOST_DEVICE inline FirstSums first_pass(const DeviceFeaturePlan& plan,
                                                const FeatureWindow& at, std::uint32_t lane,
                                                std::uint32_t lanes) {
  const double origin = first_value<T>(plan, at);
  FirstSums sums{0, origin, origin};
  for (std::uint32_t v = lane; v < plan.values; v += lanes) {
    const TimeLine line = find_line(plan, at, v);
    const double value = value_at<double, T>(plan, at, line, line.step);
    sums.sum += value - origin;
    keep_least(sums.least, value);
    keep_greatest(sums.greatest, value);
  }
  return sums;
}

TOKFRAG_HOST_DEVICE inline void add_sums(FirstSums& into, const FirstSums& from) {
  into.sum += from.sum;
  keep_least(into.least, from.least);
  keep_greatest(into.greatest, from.greatest);
}

template <class T>
TOKFRAG_HOST_DEVICE inline double window_mean(const DeviceFeaturePlan& plan,
                                              const FeatureWindow& at, const FirstSums& sums) {
  return first_value<T>(plan, at) + sums.sum / static_cast<double>(plan.values);
}

template <class T>
TOKFRAG_HOST_DEVICE inline SecondSums second_pass(const DeviceFeaturePlan& plan,
                                                  const FeatureWindow& at, double mean,
                                                  std::uint32_t lane, std::uint32_t lanes) {
  SecondSums sums{};
  const FeatureColumns& columns = plan.columns;
  for (std::uint32_t v = lane; v < plan.values; v += lanes) {
    const TimeLine line = find_line(plan, at, v);
    const double value = value_at<double, T>(plan, at, line, line.step) - mean;
    sums.squares += value * value;
    if (columns.diff_energy >= 0 && line.step + 1 < plan.time_size) {
      const double next = value_at<double, T>(plan, at, line, line.step + 1) - mean;
      sums.differences += (next - value) * (next - value);
    }
    TOKFRAG_UNROLL
    for (int k = 0; k < kLagsAtOnce; ++k) {
      if (k >= columns.lag_count || line.step + columns.lags[k] >= plan.time_size) continue;
      const double later = value_at<double, T>(plan, at, line, line.step + columns.lags[k]) - mean;
      sums.products[k] += value * later;
    }
  }
  return sums;
}

TOKFRAG_HOST_DEVICE inline void add_sums(SecondSums& into, const SecondSums& from) {
  into.squares += from.squares;
  into.differences += from.differences;
  TOKFRAG_UNROLL
  for (int k = 0; k < kLagsAtOnce; ++k) into.products[k] += from.products[k];
}

// Writes the features of a window; Out is the type of the output.
template <class Out>
TOKFRAG_HOST_DEVICE inline void write_features(const DeviceFeaturePlan& plan,
                                               const FeatureWindow& at, double mean,
                                               const FirstSums& first, const SecondSums& second) {
  const FeatureColumns& columns = plan.columns;
  Out* out = static_cast<Out*>(plan.out) + at.out;
  const auto write = [&](int column, double value) {
    if (column >= 0) out[column] = number_of<Out>(static_cast<AccumulatorOf<Out>>(value));
  };
  const bool constant = first.least == first.greatest;
  write(columns.mean, mean);
  write(columns.std, constant ? 0.0 : sqrt(second.squares / static_cast<double>(plan.values)));
  write(columns.least, first.least);
  write(columns.greatest, first.greatest);
  const double pairs = static_cast<double>(plan.time_size - 1) * plan.pairs_per_step;
  write(columns.diff_energy, pairs > 0 ? second.differences / pairs : 0.0);
  TOKFRAG_UNROLL
  for (int k = 0; k < kLagsAtOnce; ++k) {
    if (k >= columns.lag_count) continue;
    write(columns.lag_corr[k], constant ? 0.0 : second.products[k] / second.squares);
  }
}

}  // namespace tokfrag
