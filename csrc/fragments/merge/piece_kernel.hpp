// The inner loops of merge, one table for each instruction set.
//
// A piece is one window of the innermost axis over a run of output rows that the same outer windows
// hold: on each row some contiguous numbers, of each of the run's places. It is read once, summed
// over the places in registers, and added to what windows before it left in `sums`; numbers that no
// later window holds are normalised and leave for the output, the others go back to `sums`. These
// are as long as a window and stay in the first-level cache.
//
// No multiplication is ever contracted with an addition (-ffp-contract=off), so every instruction
// set gives the same bits. Numbers may lie at any address.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag {

// Sums are double, or float in the kernels for halves (`Real` below).
struct MergePiece {
  const char* const* from;  // of each place: the piece's first number on the first row
  std::int64_t places;
  std::int64_t row_step;  // bytes between rows, in the fragments
  std::int64_t rows;
  std::int64_t numbers;   // on a row
  std::int64_t held;      // so many of them, from the first on, have sums already
  std::int64_t complete;  // so many of them, from the first on, have all of theirs after this
  void* sums;
  std::int64_t sums_step;  // numbers between rows
  std::int64_t shift;      // the sums of number i stand at i + shift, and go to i

  // By place: one weight for each place of each row (rows, places), one for each number.
  const double* place_weights;
  const void* number_weights;  // Real; null: ones
  // Or each number's own: of each place, where its weights on the first row begin.
  const double* const* own;
  std::int64_t own_row_step;
  std::int64_t own_step;  // 1, or 0: one weight for all numbers of a row

  char* out;
  std::int64_t out_step;         // bytes between rows
  double scale;                  // results are multiplied (integers: divided) by this
  const void* factors;           // times those, Real, one for each complete number; null: ones
  std::int64_t factor_row_step;  // 0: the same for all rows
  bool stream;                   // store around the cache where whole lines allow; then fence
};

// A window's numbers that are copied as they are.
struct LonePiece {
  const char* from;
  char* to;
  std::int64_t bytes;
};

enum MergeWeights : int { kNoWeights, kPlaceWeights, kOwnWeights };
constexpr int kMergeWeights = 3;

// Kernels for 1, 2 and 4 places, and one for any number.
constexpr int kPlaceKinds = 4;
inline int place_kind(std::int64_t places) {
  return places == 1 ? 0 : places == 2 ? 1 : places == 4 ? 2 : 3;
}

struct MergeKernels {
  // sum = sums + number_weight * (sum over places of place_weight * number), or, with own weights,
  // sums + weight * number + ... place by place; out = sum * (scale * factor). False if a sum that
  // left was no finite float: halves are then summed again in float64.
  using Add = bool (*)(const MergePiece& piece);
  Add add[kDtypes][kMergeWeights][kPlaceKinds];
  Add add_single[kDtypes][kMergeWeights][kPlaceKinds];  // halves only
  // Copies pieces that lie side by side, row after row.
  void (*copy)(const LonePiece* pieces, std::int64_t count, std::int64_t rows,
               std::int64_t from_step, std::int64_t to_step, bool stream);
  // best[i] = max(best[i], from[i]), NaN if either is; `count` positions of `width` numbers, those
  // of `best` `step` numbers apart.
  void (*keep_max[kDtypes])(void* best, std::int64_t step, const char* from, std::int64_t count,
                            std::int64_t width);
  // (high, low)[k] += row[k], exactly
  void (*add_exact)(double* high, double* low, std::int64_t step, const char* row,
                    std::int64_t count, std::int64_t width);
  // out[k] = (high[k] + low[k]) / (scale * divisors[k]), exact where the quotient is a double;
  // null divisors are ones.
  void (*divide_exact)(double* out, const double* high, const double* low, double scale,
                       const double* divisors, std::int64_t numbers);
  // Norms are replaced by one over them. False if one is no use: zero or next to it, infinite, NaN.
  bool (*invert)(double* norms, bool replace, std::int64_t numbers);
  void (*fence)();
};

TOKFRAG_ISA_TABLE(MergeKernels, merge_kernels_table, merge_kernels)

}  // namespace tokfrag
