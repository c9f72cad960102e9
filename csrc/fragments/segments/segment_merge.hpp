// Sums and means of rows that share a destination, and the gather that undoes them.
//
//   reduce:  y[d] = sum of weight[i] * x[i] over the i with index[i] == d,  divided by the sum of
//            those weights if `mean` (0 where that sum is 0);  weight_sum[d] = sum of weight[i]
//   gather:  x[i] = scale[i] * y[index[i]]
//
// Rows of a segment are added in source order, whatever the number of threads. Half and bfloat16
// are added as float; runs of 16 rows are added up in double, so long segments stay accurate.
// Cost: one read of x, one write of y, and a counting sort of the index.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag {

// `batch` independent problems of `rows` rows into `segments` segments. A row is `columns`
// elements next to each other; strides are in elements. Weights and sums are double for kF64,
// float for the rest. `weight` and `weight_sum` may be null. No output overlaps an input.
struct SegmentReduce {
  Dtype type;  // kF16, kBF16, kF32 or kF64
  const void* x;
  std::int64_t x_batch_stride;
  std::int64_t x_row_stride;
  const std::int64_t* index;  // (batch, rows)
  const void* weight;         // (batch, rows)
  void* y;                    // (batch, segments, columns)
  void* weight_sum;           // (batch, segments)
  std::int64_t batch, rows, segments, columns;
  bool mean;
};

struct SegmentGather {
  Dtype type;     // kF16, kBF16, kF32 or kF64
  const void* y;  // (batch, segments, columns)
  std::int64_t y_batch_stride;
  std::int64_t y_row_stride;
  const std::int64_t* index;  // (batch, rows)
  const void* scale;          // (batch, rows)
  void* x;                    // (batch, rows, columns)
  std::int64_t batch, rows, segments, columns;
};

// The position in `index` of the first value outside [0, segments), or -1.
std::int64_t find_bad_index(const std::int64_t* index, std::int64_t count, std::int64_t segments);

void segment_reduce(const SegmentReduce& task, int threads);
void segment_gather(const SegmentGather& task, int threads);

// What a kernel gets of one batch entry: the sources of segment d are order[offsets[d]] to
// order[offsets[d + 1]], ascending.
struct SegmentRows {
  const void* x;
  std::int64_t row_stride;
  const void* weight;
  const std::int64_t* offsets;
  const std::int64_t* order;
  void* y;
  void* weight_sum;
  std::int64_t columns;
  bool mean;
};

constexpr int kSegmentTypes = 4;
inline int segment_type(Dtype type) {
  return static_cast<int>(type) - static_cast<int>(Dtype::kF16);
}

struct SegmentKernels {
  // Segments [first, last), one function for each of kF16, kBF16, kF32, kF64.
  void (*reduce[kSegmentTypes])(const SegmentRows& rows, std::int64_t first, std::int64_t last,
                                std::int64_t column_begin, std::int64_t column_end);
  // One row: out[k] = scale * row[k].
  void (*scale_row[kSegmentTypes])(const void* row, double scale, void* out, std::int64_t columns);
};

TOKFRAG_ISA_TABLE(SegmentKernels, segment_kernel_table, segment_kernels)

}  // namespace tokfrag
