// The sums of one block by their definition, in double, one value after another: of blocks that
// hold what is not finite, or whose squares a float does not hold.
#pragma once

#include "core/simd.hpp"
#include "fragments/features/blocks.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

inline void lag_in_double(const BlockTask& task, const double* deviations, std::int64_t block,
                          std::int64_t k) {
  const BlockSums& sums = task.sums;
  const std::int64_t n = task.lengths[block];
  const std::int64_t lag = task.lags[k];
  const std::int64_t at = k * sums.apart + block;
  double inside = 0;
  double all = 0;
  double ends = 0;
  double turns = 0;
  for (std::int64_t t = 0; t < n; ++t) {
    const double product = deviations[t] * deviations[t + lag];
    all += product;
    if (t + lag < n) inside += product;
  }
  for (std::int64_t t = 0; t < lag; ++t) {
    ends += deviations[t] + deviations[n - 1 - t];
    turns += deviations[n + t] - deviations[t];
  }
  sums.products[at] = inside;
  sums.all_products[at] = all;
  sums.ends[at] = ends;
  sums.turns[at] = turns;
}

// Block number `block` of a task, at `x`.
template <class T>
void sum_in_double(const BlockTask& task, const T* x, std::int64_t block) {
  const std::int64_t n = task.lengths[block];
  const std::int64_t reach = task.lag_count > 0 ? task.lags[task.lag_count - 1] : 0;
  const auto step_from = [&](std::int64_t t) {
    const double step = static_cast<double>(x[t + 1]) - static_cast<double>(x[t]);
    return step * step;
  };
  double total = 0;
  double steps = 0;
  double least = static_cast<double>(x[0]);
  double greatest = least;
  for (std::int64_t t = 0; t < n; ++t) {
    const auto value = static_cast<double>(x[t]);
    total += value;
    least = extreme<false>(least, value);
    greatest = extreme<true>(greatest, value);
    if (t + 1 < n) steps += step_from(t);
  }
  const double mean = total / static_cast<double>(n);
  double deviations[2 * kBlockMost];
  double squares = 0;
  for (std::int64_t t = 0; t < n + reach; ++t) {
    deviations[t] = static_cast<double>(x[t]) - mean;
    if (t < n) squares += deviations[t] * deviations[t];
  }
  const BlockSums& sums = task.sums;
  sums.pivot[block] = mean;
  sums.residual[block] = 0;
  sums.squares[block] = squares;
  sums.least[block] = least;
  sums.greatest[block] = greatest;
  sums.steps[block] = steps;
  sums.step_out[block] = step_from(n - 1);
  for (std::int64_t k = 0; k < task.lag_count; ++k) lag_in_double(task, deviations, block, k);
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
