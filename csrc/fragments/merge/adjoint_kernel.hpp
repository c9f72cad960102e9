// The inner loop of extract_weighted, one table for each instruction set.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag {

// Rows of `count` positions of `width` numbers: one of each window along the innermost axis.
struct WeightedRows {
  char* to;
  std::int64_t to_step;  // bytes between rows
  const double* from;
  std::int64_t from_step;    // numbers between rows
  std::int64_t dilation;     // positions between those of a row, in `from`
  const double* weights;     // null: ones
  std::int64_t weight_step;  // 1, or 0: one for all of a row
  std::int64_t weight_row_step;
  double scale;
  std::int64_t count;
  std::int64_t width;
  std::int64_t rows;
  bool stream;  // around the cache where the rows are whole lines; then fence
};

// The same of halves, in float32, with a weight for each number.
struct SingleRows {
  char* to;
  std::int64_t to_step;  // bytes between rows
  const float* from;
  std::int64_t from_step;  // numbers between rows
  const float* weights;
  float scale;
  std::int64_t numbers;
  std::int64_t rows;
  bool stream;
};

struct WeightedKernels {
  // to[k] = from[k] * (scale * weights[k]), for floating types only
  void (*weigh[kDtypes])(const WeightedRows& rows);
  // row[i] = from[i] * (scale * factors[i]); the same types. Null factors are ones.
  void (*widen[kDtypes])(double* row, const void* from, std::int64_t numbers, double scale,
                         const double* factors);
  // to[i] = from[i] * (scale * factors[i]), of the same types, rounded; null factors are ones.
  void (*narrow[kDtypes])(void* to, const void* from, std::int64_t numbers, double scale,
                          const double* factors);
  // The same where all factors are powers of two; null for float64.
  void (*halve[kDtypes])(void* to, const void* from, std::int64_t numbers, float scale,
                         const float* factors);
  // Halves in float32: row[i] = from[i] * (scale * factors[i]), null factors are ones; and
  // to[k] = from[k] * (scale * weights[k]).
  void (*widen_halves)(float* row, const void* from, std::int64_t numbers, float scale,
                       const float* factors);
  void (*weigh_halves)(const SingleRows& rows);
  // value[k] *= scale * factors[k], of `count` positions of `width` numbers; null factors are ones.
  void (*multiply)(double* value, double scale, const double* factors, std::int64_t count,
                   std::int64_t width);
  // sums[k * step] += weights[k]
  void (*add_weights)(double* sums, std::int64_t step, const double* weights, std::int64_t count);
  void (*fence)();
};

TOKFRAG_ISA_TABLE(WeightedKernels, weighted_kernels_table, weighted_kernels)

}  // namespace tokfrag
