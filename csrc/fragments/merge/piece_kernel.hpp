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

// Sums are double, or float in the kernels for halves and bytes (`Real` below).
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
  // Windows after this one of which all of the above is true too.
  std::int64_t windows;          // with this one
  std::int64_t window_step;      // bytes between them, in the fragments
  std::int64_t out_window_step;  // in the output

  // By place, or the row's own: one weight for each place of each row (rows, places).
  const double* place_weights;
  // With those by place, one for each number.
  const void* number_weights;  // Real; null: ones
  // Or each number's own: of each place, where its weights on the first row begin.
  const double* const* own;
  std::int64_t own_row_step;
  std::int64_t norms;  // their sums stand so many numbers after those of the numbers
  double* kept_norms;  // one over the complete ones (integers: they) go here (rows, complete)

  char* out;
  std::int64_t out_step;         // bytes between rows
  double scale;                  // results are multiplied (integers: divided) by this
  const void* factors;           // times those, Real, one for each complete number; null: ones
  std::int64_t factor_row_step;  // 0: the same for all rows
  std::int64_t ahead;            // bytes to what is asked for early; 0: nothing
  bool stream;                   // store around the cache where whole lines allow; then fence
};

// A window's numbers that are copied as they are.
struct LonePiece {
  const char* from;
  char* to;
  std::int64_t bytes;
};

// None; those of the outer axes (and of each number); a row's own, or each number's own, as
// products that are added one by one; the latter with their sums, which normalise the complete
// numbers.
enum MergeWeights : int { kNoWeights, kPlaceWeights, kRowWeights, kOwnWeights, kOwnNorms };
constexpr int kMergeWeights = 5;

// Kernels for 1, 2 and 4 places, and one for any number.
constexpr int kPlaceKinds = 4;
inline int place_kind(std::int64_t places) {
  return places == 1 ? 0 : places == 2 ? 1 : places == 4 ? 2 : 3;
}

struct MergeKernels {
  // sum = sums + number_weight * (sum over places of place_weight * number), or, with own weights,
  // sums + weight * number + ... place by place; out = sum * (scale * factor). False if a sum that
  // left was no finite float (halves are then summed again in float64), or a norm is no use: zero
  // or next to it, infinite, NaN.
  using Add = bool (*)(const MergePiece& piece);
  Add add[kDtypes][kMergeWeights][kPlaceKinds];
  Add add_single[kDtypes][kMergeWeights][kPlaceKinds];  // halves, uint8
  // Copies pieces that lie side by side, row after row.
  void (*copy)(const LonePiece* pieces, std::int64_t count, std::int64_t rows,
               std::int64_t from_step, std::int64_t to_step, bool stream);
  // Norms are replaced by one over them. False if one is no use: zero or next to it, infinite, NaN.
  bool (*invert)(double* norms, bool replace, std::int64_t numbers);
  void (*fence)();
};

TOKFRAG_ISA_TABLE(MergeKernels, merge_kernels_table, merge_kernels)

}  // namespace tokfrag
