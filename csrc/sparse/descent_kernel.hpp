// Exact cyclic coordinate descent on one block of coordinates, for a few rows ("lanes") at a time.
//
// Each row w minimises  1/2 w G w' - c w' + alpha |w|_1  over the block's coordinates, in turn:
//   w_j <- soft(r_j + G_jj w_j, alpha) / G_jj,   r = c - w G,
// where soft(z, a) = sign(z) max(|z| - a, 0). Coordinates outside the mask, and those with
// G_jj <= 0 (inputs that are always zero), keep their value.
#pragma once

#include <cstdint>

#include "core/isa.hpp"

namespace tokfrag::sparse {

constexpr std::int64_t kDescentBlock = 128;
constexpr std::int64_t kDescentLanes = 32;

struct DescentKernels {
  // Arrays are transposed, a coordinate's lanes together: weights (width, 32), read and written;
  // residual (width, 32); change (width, 32), work space that is zero on entry; gram (width,
  // width); keep (width, 32), the mask as 0 or 1, or null; progress (32), which grows by each
  // lane's sum of G_jj (change of w_j)^2.
  using Descend = void (*)(void* weights, const void* residual, void* change, const void* gram,
                           const void* keep, double alpha, std::int64_t width, std::int64_t passes,
                           void* progress);
  Descend descend[2];  // float, double
};

}  // namespace tokfrag::sparse

namespace tokfrag {
TOKFRAG_ISA_TABLE(sparse::DescentKernels, sparse_descent_kernels, descent_kernels)
}
