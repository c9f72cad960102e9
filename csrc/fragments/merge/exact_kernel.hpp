// Sums of float64 in two doubles, for means of equal values that are exact.
#pragma once

#include <cstdint>

#include "core/isa.hpp"

namespace tokfrag {

struct ExactKernels {
  // (high, low)[k] += row[k], exactly; `count` positions of `width` numbers, those of the sums
  // `step` numbers apart.
  void (*add)(double* high, double* low, std::int64_t step, const char* row, std::int64_t count,
              std::int64_t width);
  // out[k] = (high[k] + low[k]) / (scale * divisors[k]), exact where the quotient is a double;
  // null divisors are ones.
  void (*divide)(double* out, const double* high, const double* low, double scale,
                 const double* divisors, std::int64_t numbers);
};

TOKFRAG_ISA_TABLE(ExactKernels, exact_kernels_table, exact_kernels)

}  // namespace tokfrag
