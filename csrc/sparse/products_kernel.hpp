// Sparse products of one tile with one batch tile: the inner loops, one table an instruction set.
//
// A batch tile is 16, 32 or 64 inputs ("lanes"), packed so that a column's lanes lie together:
//   panel  (kTile columns, lanes)   inputs of one column chunk, 64-byte aligned
//   rows   (kTile rows, lanes)      outputs, or output gradients, of one row block
// Sums run over a row's non-zeros in storage order with one accumulator a lane, so a result does
// not depend on the number of lanes or threads. `Real` is float or double; half and bfloat16 are
// widened while packing. Pointers are to Real unless said; nothing aliases.
#pragma once

#include <cstdint>

#include "core/isa.hpp"

namespace tokfrag::sparse {

constexpr int kLaneChoices = 3;  // 16 << index

struct ProductKernels {
  // rows[r, :] += sum over the run of row r of values[i] * panel[local[i], :].  Index:
  // float/double.
  using Multiply = void (*)(const void* panel, const void* values, const std::uint8_t* local,
                            const std::uint8_t* runs, std::int64_t block_rows, void* rows);
  Multiply multiply[2][kLaneChoices];
  // out[i] += sum over lanes of rows[r, :] * panel[local[i], :] for each i in the run of row r.
  using Sample = void (*)(const void* panel, const void* rows, const std::uint8_t* local,
                          const std::uint8_t* runs, std::int64_t block_rows, void* out);
  Sample sample[2][kLaneChoices];
  // One input: rows[r, 0..15] += partial sums of values[i] * x[local[i]]; `width` inputs are there.
  using MultiplyVector = void (*)(const void* x, std::int64_t width, const void* values,
                                  const std::uint8_t* local, const std::uint8_t* runs,
                                  std::int64_t block_rows, void* rows);
  MultiplyVector multiply_vector[2];
  // The same in float from bit masks (two words a run), which cost the same at any sparsity, and
  // from values as they are stored; `end`: where readable values end. Index: Element; null for
  // double, and where the instruction set has nothing to expand values with.
  using MultiplyMasked = void (*)(const float* x, std::int64_t width, const void* values,
                                  const void* end, const std::uint64_t* masks,
                                  const std::uint8_t* runs, std::int64_t block_rows, float* rows);
  MultiplyMasked multiply_masked[4];
};

}  // namespace tokfrag::sparse

namespace tokfrag {
TOKFRAG_ISA_TABLE(sparse::ProductKernels, sparse_product_kernels, product_kernels)
}
