// stitch: merge fragments as they come, a batch at a time.
//
//   add:   sums[c, origin(i) + dilation * k] += w(k) * fragments[i, c, k]     (max: the larger one)
//   emit:  out[c, p] = sums[c, p] * factors(p)      (a mean's factors are one over its weights)
//
// The sums are a slab, a ring along axis 0: only the positions that later fragments still reach are
// kept. In float, or in double for double; each element is added up in the fragments' order, so the
// bits depend neither on threads nor on instruction sets.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "fragments/grid/grid.hpp"

namespace tokfrag {

// A slab of sums: contiguous (channels, lengths[0], ..., lengths[rank - 1]).
struct StitchSlab {
  void* sums;
  bool wide;  // double, else float
  std::int64_t channels;
  int rank;
  std::int64_t lengths[kMaxAxes];

  // Numbers from one position of an axis to the next; of a channel, for axis -1.
  std::int64_t step(int axis) const {
    std::int64_t numbers = 1;
    for (int inner = axis + 1; inner < rank; ++inner) numbers *= lengths[inner];
    return numbers;
  }
};

// Fragments to add. Weights are numbers of the sums' type.
struct StitchAdd {
  Dtype dtype;
  const void* fragments;  // null: ones, and the slab has one channel
  std::int64_t count;
  std::int64_t fragment_stride;  // bytes, as all strides
  std::int64_t channel_stride;
  std::int64_t tap_strides[kMaxAxes];
  std::int64_t size[kMaxAxes];
  std::int64_t dilation[kMaxAxes];
  const std::int64_t*
      origins;  // (count, rank): in the slab; on axis 0 any, taken modulo its length
  const void* vectors[kMaxAxes];  // (variants, size): weights of an axis; null: ones
  const std::int64_t* variants;   // (count, rank): which of those
  const void* whole;              // (*size): instead of vectors; or null
  bool keep_max;                  // the larger of sum and value, NaN if either is; no weights
};

// Finished positions to write. float16, bfloat16, float32, float64.
struct StitchEmit {
  Dtype dtype;
  void* out;
  std::int64_t channel_stride;  // bytes, as all strides
  std::int64_t strides[kMaxAxes];
  std::int64_t first;              // position on axis 0, modulo its length
  std::int64_t extents[kMaxAxes];  // how many positions along each axis
  const void* factors[kMaxAxes];   // of each of them, in the sums' type
  const void* divisors;            // instead: rows of numbers to divide by, 0 where 0; or null
  // For each emitted position of the axes but the last, numbers to its row; they add up.
  const std::int64_t* divisor_rows[kMaxAxes];
  bool keep_max;  // factors only say (by 0) where no fragment lies: 0 is written
};

// Windows must fit in the slab.
void stitch_add(const StitchSlab& slab, const StitchAdd& task, int threads);

// Writes, and makes the emitted positions of axis 0 (whole planes of the slab) empty: zero, or for
// a maximum minus infinity.
void stitch_emit(const StitchSlab& slab, const StitchEmit& task, int threads);

}  // namespace tokfrag
