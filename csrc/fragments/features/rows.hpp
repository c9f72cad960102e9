// The sums of the windows along one row, in pieces that neighbouring windows share.
#pragma once

#include <cstdint>

#include "core/isa.hpp"

namespace tokfrag {

// Doubles at the front of a row that may be read but count for nothing; after it, as many and the
// longest lag.
constexpr std::int64_t kRowSlack = 8;

// What a piece or a window adds up to: these, then a product for each lag, in groups of eight.
enum RowSum : int { kRowTotal, kRowSquares, kRowDifferences, kRowLeast, kRowGreatest };
constexpr std::int64_t kRowGroup = 8;
inline std::int64_t row_width(std::int64_t lag_count) {
  return (lag_count + kRowGroup - 1) / kRowGroup * kRowGroup;
}

struct RowTask {
  const double* y;
  const double* raw;           // y without the shift, for least and greatest; null if not wanted
  const std::int64_t* starts;  // ascending, relative to y
  std::int64_t count;
  std::int64_t size;
  const std::int64_t* lags;  // ascending, less than size
  std::int64_t lag_count;
  // Results. A moment not wanted is null.
  double* total;
  double* squares;
  double* difference_sums;
  double* least;
  double* greatest;
  double* products;  // (count, row_width): sum y[t] y[t + lag]
  double* edges;     // (count, row_width): sum y[t] + y[t + lag] over the same pairs
  // Workspace
  std::int64_t ring;          // as row_ring() says
  double* pieces;             // row_workspace() doubles, 64-byte aligned
  std::int64_t* piece_begin;  // ring
  std::int64_t* first_piece;  // count
};

// Pieces a window spans at most, rounded up to a power of two; 0 if windows share too little for
// pieces to pay.
std::int64_t row_ring(const std::int64_t* starts, std::int64_t count, std::int64_t size);
inline std::int64_t row_workspace(std::int64_t ring, const std::int64_t* lags,
                                  std::int64_t lag_count) {
  const std::int64_t reach = lag_count > 0 ? row_width(lags[lag_count - 1]) : 0;
  return (ring + 2) * (kRowGroup + row_width(lag_count)) + reach;
}

struct RowKernels {
  void (*row_sums)(const RowTask& task);
  // sums[i] = sum over window i of a * b, or of (b - a)^2; rows have kRowSlack values to spare.
  void (*pair_sums)(const double* a, const double* b, const std::int64_t* starts,
                    std::int64_t count, std::int64_t size, bool difference, double* sums);
};

TOKFRAG_ISA_TABLE(RowKernels, row_kernel_table, row_kernels)

}  // namespace tokfrag
