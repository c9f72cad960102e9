// The inner loops of merge, one table for each instruction set.
//
// Rows hold `count` positions of `width` numbers each, contiguous; accumulators hold positions
// `step` numbers apart (step = width, but for dilated windows). No multiplication is ever
// contracted with an addition (-ffp-contract=off), so every instruction set gives the same bits.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag {

// The loops that read or write numbers of one type.
struct MergeLoops {
  // row[i] = weight * from[i], and row[i] += weight * from[i]
  void (*set_scaled)(double* row, const void* from, double weight, std::int64_t items);
  void (*add_scaled)(double* row, const void* from, double weight, std::int64_t items);
  // to[i] = value[i], rounded once for float32 and float64, through float32 for halves; integers
  // to nearest even, saturated.
  void (*store)(void* to, const double* value, std::int64_t items);
  // best[i] = max(best[i], from[i]), NaN if either is
  void (*keep_max)(void* best, std::int64_t step, const void* from, std::int64_t count,
                   std::int64_t width);
};

// The same for halves that are summed in float32.
struct SingleLoops {
  void (*set_scaled)(float* row, const void* from, float weight, std::int64_t items);
  void (*add_scaled)(float* row, const void* from, float weight, std::int64_t items);
  void (*store)(void* to, const float* value, std::int64_t items);
};

struct MergeKernels {
  MergeLoops loops[kDtypes];
  SingleLoops single_loops[2];  // float16, bfloat16
  // sum[k] += weights[k * weight_step] * row[k]; null weights are ones.
  void (*add_weighted)(double* sum, std::int64_t step, const double* row, const double* weights,
                       std::int64_t weight_step, std::int64_t count, std::int64_t width);
  void (*add_weighted_single)(float* sum, std::int64_t step, const float* row, const float* weights,
                              std::int64_t weight_step, std::int64_t count, std::int64_t width);
  // (high, low)[k] += row[k], exactly
  void (*add_exact)(double* high, double* low, std::int64_t step, const double* row,
                    std::int64_t count, std::int64_t width);
  // value[k] *= scale * factors[k], or value[k] /= scale * divisors[k]; null factors are ones.
  void (*multiply)(double* value, double scale, const double* factors, std::int64_t count,
                   std::int64_t width);
  // value[k] *= float32(scale * factors[k])
  void (*multiply_single)(float* value, double scale, const double* factors, std::int64_t count,
                          std::int64_t width);
  void (*divide)(double* value, double scale, const double* divisors, std::int64_t count,
                 std::int64_t width);
  // high[k] = (high[k] + low[k]) / (scale * divisors[k]), exact where the quotient is a double
  void (*divide_exact)(double* high, const double* low, double scale, const double* divisors,
                       std::int64_t count, std::int64_t width);
};

TOKFRAG_ISA_TABLE(MergeKernels, merge_kernels_table, merge_kernels)

}  // namespace tokfrag
