#include "fragments/merge/exact_kernel.hpp"

#include <cstring>

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

void add_exact(double* __restrict high, double* __restrict low, std::int64_t step, const char* row,
               std::int64_t count, std::int64_t width) {
  if (step == width) {
    count *= width;
    step = width = 1;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    for (std::int64_t i = 0; i < width; ++i) {
      // Knuth's two-sum: high + low is the exact sum so far.
      double value;
      std::memcpy(&value, row + (k * width + i) * 8, sizeof value);
      double& so_far = high[k * step + i];
      const double sum = so_far + value;
      const double taken = sum - so_far;
      low[k * step + i] += (so_far - (sum - taken)) + (value - taken);
      so_far = sum;
    }
  }
}

void divide_exact(double* __restrict out, const double* __restrict high,
                  const double* __restrict low, double scale, const double* __restrict divisors,
                  std::int64_t numbers) {
  for (std::int64_t k = 0; k < numbers; ++k) {
    const double divisor = divisors == nullptr ? scale : scale * divisors[k];
    const double quotient = high[k] / divisor;
    const double rest = __builtin_fma(-quotient, divisor, high[k]) + low[k];
    // No rest, or none that means anything (infinities): the quotient stands, sign of zero too.
    const bool refine = rest != 0 && rest - rest == 0;
    out[k] = refine ? quotient + rest / divisor : quotient;
  }
}

}  // namespace

extern const ExactKernels exact_kernels_table;
const ExactKernels exact_kernels_table = {&add_exact, &divide_exact};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
