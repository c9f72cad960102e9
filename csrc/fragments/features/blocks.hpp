// A row in blocks, each summed once about its own mean; windows are runs of blocks.
//
// Of a block: n values, a pivot u that is their mean but for rounding, R = sum (y - u), S = sum
// (y - u)^2, extremes, squared steps inside and out of it. With c = u - m, a window of mean m has
//   sum (y - m)^2 = sum over its blocks of: S + c (2 R + n c)
// For each lag l: products (y[t] - u)(y[t + l] - u) summed over the pairs inside the block, P, and
// over all pairs that start in it, F; the sum H of its first l and its last l values less u; and
// the l values after it less its first l, G. The products about m of a window then sum to
//   sum over its blocks of: c (2 R + n c)
//   + sum over all but the last of: F + c G
//   + of the last one: P - c H - l c^2
// Nothing is subtracted that is larger than the result, so drifts and offsets cost no digits. What
// leads out of a window's last block is not taken; a NaN beyond a window spoils nothing.
//
// A block is a lane of a register: as many blocks as there are lanes are summed side by side, so
// that nothing is added across lanes and every instruction set adds in the same order. Lanes are
// float for rows of float: on values less the rounded mean, 16 of them in a lane before its sum
// goes on in double. Blocks are put together in double (joining.hpp). A block that floats cannot
// hold (not finite, or of squares near the least float) is summed again in double.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag {

constexpr std::int64_t kBlockMost = 256;
// How many blocks a piece of `length` values is cut into, as equal as can be.
inline std::int64_t block_parts(std::int64_t length) {
  return (length + kBlockMost - 1) / kBlockMost;
}
// Values after a row's last block (and the longest lag) that may be read and count for nothing.
constexpr std::int64_t kBlockSlack = 8;
// Doubles after an array of blocks or windows that may be read and written.
constexpr std::int64_t kLaneSlack = 16;

// Arrays of one number a block; those of lags are `apart` from each other, lag after lag.
struct BlockSums {
  const double* count;  // values of a block; given
  double* pivot;
  double* residual;  // R
  double* squares;   // S
  double* least;
  double* greatest;
  double* steps;         // squared differences inside
  double* step_out;      // the one to the next block
  double* products;      // P
  double* all_products;  // F
  double* ends;          // H
  double* turns;         // G
  std::int64_t apart;
};
constexpr std::int64_t kBlockMoments = 7;
constexpr std::int64_t kBlockLagSums = 4;

// What a kernel works in, on lines of 64 bytes.
constexpr std::int64_t kBlockRoomBytes = 3 * 64 * (2 * kBlockMost + 16);

struct BlockTask {
  const void* row;  // float or double
  const std::int64_t* begins;
  const std::int64_t* lengths;
  std::int64_t count;
  std::int64_t even;         // the length of all; 0 if they differ
  bool adjoining;            // all of one length, and each begins where the one before it ends
  bool whole;                // values are whole numbers of 16 bits or fewer: so are pivots
  const std::int64_t* lags;  // ascending; no block is shorter
  std::int64_t lag_count;
  BlockSums sums;
  void* room;  // kBlockRoomBytes
};

struct BlockKernels {
  // True if some block was summed in double, as those with values that are not finite are.
  bool (*sum_floats)(const BlockTask& task);
  bool (*sum_doubles)(const BlockTask& task);
  // out[i] = value(data + i * stride), for types that a float holds; null for the others.
  void (*load[kDtypes])(const void* data, std::int64_t stride, std::int64_t count, float* out);
};

TOKFRAG_ISA_TABLE(BlockKernels, block_kernel_table, block_kernels)

}  // namespace tokfrag
