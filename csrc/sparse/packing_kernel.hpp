// Between arrays as users hold them and the batch tiles that products work on.
//
// Tiles are float, or double for double; half and bfloat16 are widened on the way in and rounded to
// nearest on the way out. One function an element type, one table an instruction set.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"
#include "sparse/row_group.hpp"

namespace tokfrag::sparse {

struct PackingKernels {
  // panel[c, l] = x[l, c] for l < valid, 0 for the other lanes.  x has `stride` elements a line.
  using Pack = void (*)(const void* x, std::int64_t stride, std::int64_t valid,
                        std::int64_t columns, std::int64_t lanes, void* panel);
  Pack pack[kElements];
  // pairs[r / 8, l / 2, r % 8, l % 2] = x[l, r] for l < valid and r < rows; 0 for other lanes and
  // up to a multiple of eight rows.
  using PackPairs = void (*)(const void* x, std::int64_t stride, std::int64_t valid,
                             std::int64_t rows, std::int64_t lanes, void* pairs);
  PackPairs pack_pairs[kElements];
  // out = a group's values (height, count) from sums[count, 8, 2] of pairs, for float and double.
  void (*fold_pairs[2])(const void* sums, const RowGroup* groups, std::int64_t count, void* out);
  // y[l, r] = rows[r, l] + bias[r] for l < valid; bias (of the element type) may be null.
  using Unpack = void (*)(const void* rows, std::int64_t count, std::int64_t lanes,
                          const void* bias, std::int64_t valid, std::int64_t stride, void* y);
  Unpack unpack[kElements];
  // y[r] = sum of rows[r, 0..15] + bias[r].
  using UnpackVector = void (*)(const void* rows, std::int64_t count, const void* bias, void* y);
  UnpackVector unpack_vector[kElements];
  // to[i] = from[i], widened; narrow is the way back.
  void (*widen[kElements])(const void* from, std::int64_t count, void* to);
  void (*narrow[kElements])(const void* from, std::int64_t count, void* to);
  // to[i] = from[sources[i]], widened.
  void (*gather[kElements])(const void* from, const std::uint16_t* sources, std::int64_t count,
                            void* to);
};

}  // namespace tokfrag::sparse

namespace tokfrag {
TOKFRAG_ISA_TABLE(sparse::PackingKernels, sparse_packing_kernels, packing_kernels)
}
