// The sums of the windows of a series at an even stride that divides their size.
//
// A window is then a run of whole pieces, each as long as the stride. As many pieces as a
// register has lanes are summed side by side: no sum across lanes, no masks, aligned loads.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"
#include "fragments/features/features.hpp"

namespace tokfrag {

constexpr std::int64_t kSeriesLanes = 8;  // at most

struct SeriesTask {
  Dtype type;
  const void* x;      // where the first window begins
  std::int64_t step;  // bytes between neighbours
  std::int64_t stride;
  std::int64_t overlap;  // pieces of a window
  std::int64_t count;    // windows
  double shift;
  const std::int64_t* lags;  // ascending, at most `stride`
  std::int64_t lag_count;
  SumSlots slots;
  double* sums;       // (slots.count, count)
  double* workspace;  // series_workspace() doubles, 64-byte aligned
};

// Pieces of `count` windows, in whole groups of lanes.
inline std::int64_t series_pieces(std::int64_t count, std::int64_t overlap) {
  return (count + overlap - 1 + kSeriesLanes - 1) / kSeriesLanes * kSeriesLanes;
}

// Rows of a group of pieces, then (6 moments + 4 a lag) sums of every piece.
inline std::int64_t series_workspace(std::int64_t count, std::int64_t overlap, std::int64_t stride,
                                     std::int64_t lag_count) {
  return 2 * stride * kSeriesLanes + (6 + 4 * lag_count) * series_pieces(count, overlap);
}

struct SeriesKernels {
  void (*sums)(const SeriesTask& task);
};

TOKFRAG_ISA_TABLE(SeriesKernels, series_kernel_table, series_kernels)

}  // namespace tokfrag
