// Numbers of every window of a series from which features by tsfresh's names follow: moments,
// trends and harmonics from blocks that windows share, counts and runs beside a window's mean,
// places of extremes, energies of parts, values by rank.
//
// With y the n values of a window, m their mean (within their range), t from 0 on:
//   kMean        m
//   kLeast       the least value, NaN if one is; kGreatest alike
//   kPower       sum (y - m)^p,                             p = 2, 3, 4
//   kChanges     sum |y[t + 1] - y[t]|; kSteps the sum of their squares
//   kTrend       sum (t - (n - 1) / 2) (y[t] - m)
//   kCosine      sum (y[t] - m) cos(2 pi k t / n); kSine the same with sin
//   kCrossings   how many of y[t] > level, y[t + 1] > level differ
//   kEnergy      sum y[t]^2 over t in [first, last)
//   kAbove       how many y > m; kBelow: y < m; kAboveRun, kBelowRun: the longest run of them
//   kGreatestAt  t of the greatest value, the first of several or the last; kLeastAt; of a NaN if
//                there is one
//   kQuantile    linear between the two nearest of the sorted values
//   kValue       y[first]
// All arithmetic is in double. What is not finite spoils only the windows that hold it, and the
// bits are the same on any machine and any number of threads.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "fragments/features/features.hpp"
#include "fragments/grid/grid.hpp"

namespace tokfrag {

enum class WindowNumber : int {
  kMean,
  kLeast,
  kGreatest,
  kPower,
  kChanges,
  kSteps,
  kTrend,
  kCosine,
  kSine,
  kCrossings,
  kEnergy,
  kAbove,
  kBelow,
  kAboveRun,
  kBelowRun,
  kGreatestAt,
  kLeastAt,
  kQuantile,
  kValue,
};
constexpr int kWindowNumbers = 19;

struct NumberColumn {
  WindowNumber number;
  double parameter;    // kQuantile: its place in [0, 1]; kCrossings: the level
  std::int64_t first;  // kPower: p; kCosine, kSine: k; kEnergy, kValue: t; k...At: 1 for the last
  std::int64_t last;   // kEnergy: the end
};

struct WindowNumberTask {
  Dtype type;
  const void* x;  // (batch, channels, length)
  std::int64_t batch, channels;
  std::int64_t batch_stride, channel_stride;  // bytes
  FeatureAxis axis;                           // not dilated
  PadMode pad_mode;
  double pad_value;
  const NumberColumn* columns;
  std::int64_t column_count;
  double* out;  // (batch, windows, channels, column_count), contiguous
};

void window_numbers(const WindowNumberTask& task, int threads);

}  // namespace tokfrag
