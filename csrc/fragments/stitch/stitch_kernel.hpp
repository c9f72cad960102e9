// The inner loops of stitch, one table for each instruction set. `Sum` is float or double.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag {

// Rows of one fragment: for each row r and number i of it
//   sums[r][i * step] += (scale * row_scales[r] * weights[r][i]) * from[r][i]
template <class Sum>
struct StitchRows {
  Sum* sums;
  std::int64_t sums_row_step;  // numbers
  std::int64_t step;           // numbers
  const char* from;            // null: ones; aligned to its type
  std::int64_t from_row_step;  // bytes
  std::int64_t from_step;      // bytes
  Sum scale;
  const Sum* row_scales;  // null: ones
  const Sum* weights;     // null: ones
  std::int64_t weights_row_step;
  std::int64_t rows;
  std::int64_t count;
  const Sum* ahead;  // sums of the rows that come next, asked for meanwhile; or null
};

// out[i] = sums[i] * (scale * factors[i]), or sums[i] / divisors[i] (0 by 0: 0); then sums[i] =
// `empty`.
template <class Sum>
struct StitchOut {
  char* out;              // aligned to its type
  std::int64_t out_step;  // bytes
  Sum* sums;
  Sum scale;
  const Sum* factors;
  const Sum* divisors;  // instead of factors; or null
  std::int64_t count;
  bool stream;  // around the cache; then `fence`
};

template <class Sum>
struct StitchLoops {
  void (*add[kDtypes])(const StitchRows<Sum>& rows);
  void (*keep_max[kDtypes])(const StitchRows<Sum>& rows);
  void (*emit[kDtypes])(const StitchOut<Sum>& row);      // null for integers
  void (*emit_max[kDtypes])(const StitchOut<Sum>& row);  // factors of 0: 0
};

struct StitchKernels {
  StitchLoops<float> narrow;
  StitchLoops<double> wide;
  void (*fence)();
};

TOKFRAG_ISA_TABLE(StitchKernels, stitch_kernels_table, stitch_kernels)

}  // namespace tokfrag
