// Statistics of every fragment of a grid, without a fragment being written anywhere.
//
// With y the values of a fragment, W their number, m their mean, t running along the time axis:
//   mean         m
//   std          sqrt(sum (y - m)^2 / W)
//   min, max     NaN if the fragment holds one
//   diff_energy  mean of (y[t + 1] - y[t])^2 over the pairs; 0 if there are none
//   lag_corr(l)  sum (y[t] - m) (y[t + l] - m) / sum (y - m)^2; 0 if the fragment is constant
//
// Of a series, blocks that windows share are summed once, each about a value near its own mean; in
// lanes of float for types that a float holds, else of double (blocks.hpp). Errors are within 2e-7
// of the largest value in a window, or double's. So are the rows of data with more axes, unless
// lags are wanted, or differences along another axis: then, and for lags longer than blocks, all
// arithmetic is in double. Rows are added up in double, less a local median, and windows whose
// variance is mostly rounding are done again, directly. Dilated windows are all done directly. A
// value that is not finite spoils only the fragments that hold it.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"
#include "fragments/grid/grid.hpp"

namespace tokfrag {

enum class Feature : int { kMean, kStd, kMin, kMax, kDiffEnergy, kLagCorr };

constexpr int kMaxFeatureAxes = 4;

struct FeatureAxis {
  std::int64_t length;  // of the data
  std::int64_t size;    // window
  std::int64_t dilation;
  std::int64_t count;          // windows
  std::int64_t stride;         // bytes between neighbours in the data
  const std::int64_t* starts;  // count, ascending
};

// Column k of the result is columns[k]; kLagCorr columns take the lags one after the other. Lags
// are at least 1 and less than the window along the time axis.
struct FeatureTask {
  Dtype type;
  Dtype out_type;  // a floating one
  const void* x;   // (batch, channels, *axes)
  std::int64_t batch, channels;
  std::int64_t batch_stride, channel_stride;  // bytes
  int rank;
  FeatureAxis axes[kMaxFeatureAxes];
  int time_axis;
  PadMode pad_mode;
  double pad_value;
  const Feature* columns;
  std::int64_t column_count;
  const std::int64_t* lags;
  std::int64_t lag_count;
  void* out;  // (batch, windows, channels, column_count), contiguous
};

void fragment_features(const FeatureTask& task, int threads);

// Where each sum lies among the sums of a window; -1: not wanted. `products` and `edges` are
// followed by those of the other lags.
struct SumSlots {
  int sum = 0;
  int squares = -1;
  int least = -1;
  int greatest = -1;
  int differences = -1;
  int products = -1;  // sum y[t] y[t + lag]
  int edges = -1;     // sum y[t] + y[t + lag] over the same pairs
  int count = 1;
};

struct FeatureKernels {
  // out[i] = value(data + i * stride) - shift.
  void (*load[kDtypes])(const void* data, std::int64_t stride, std::int64_t count, double shift,
                        double* out);
  // On count values side by side.
  void (*add)(double* into, const double* from, std::int64_t count);
  void (*add_scaled)(double* into, const double* from, double factor, std::int64_t count);
  void (*keep_least)(double* into, const double* from, std::int64_t count);
  void (*keep_greatest)(double* into, const double* from, std::int64_t count);
};

TOKFRAG_ISA_TABLE(FeatureKernels, feature_kernel_table, feature_kernels)

}  // namespace tokfrag
