// extract_weighted: the adjoint of merge. Cuts fragments times the weights that merge gives them:
//
//   fragments[b, i, k] = w(i, k) / norm(p) * data[b, p],     p = start(i) + dilation * k
//
// norm(p) is the sum of the weights over p for "mean", 1 for "sum". Beyond an axis fragments get 0,
// but with "sum" and a pad mode that copies data, what lies at the position copied from.
#pragma once

#include "core/dtype.hpp"
#include "fragments/merge/merge.hpp"

namespace tokfrag {

// `fragments` is contiguous, must not overlap `data`, and is written whole, each number rounded
// once (halves through float32; float16 under weights of the axes of a mean is multiplied in
// float32, as merge adds it up). float16, bfloat16, float32, float64; no maximum. Weights that
// merge refuses, for they sum to zero, give infinities or NaN.
void extract_weighted(const GridLayout& layout, const GridShape& grid, const MergeWindow& window,
                      Dtype dtype, const void* data, void* fragments, int threads);

}  // namespace tokfrag
