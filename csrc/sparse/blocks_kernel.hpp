// Products of one tile whose rows share their columns by eights ("8x1" blocks).
//
// A group is eight rows that follow one another (fewer where the matrix ends) and have the same
// columns: `columns` holds them once a group, and the group's values are its rows' runs, one after
// the other. An input or its tile is read once for eight rows, so that loads are no longer what is
// short. Panels and rows are those of products_kernel.hpp; pointers are to Real, nothing aliases.
#pragma once

#include <cstdint>

#include "core/isa.hpp"
#include "sparse/products_kernel.hpp"
#include "sparse/row_group.hpp"

namespace tokfrag::sparse {

struct BlockKernels {
  // rows[r, :] += sum over n of values[r, n] * panel[columns[n], :], columns ascending.
  using Multiply = void (*)(const void* panel, const void* values, const std::uint8_t* columns,
                            const RowGroup* groups, std::int64_t count, void* rows);
  Multiply multiply[2][kLaneChoices];
  // panel[columns[n], :] += sum over r of values[r, n] * rows[r, :], groups in order.
  using Scatter = void (*)(const void* rows, const void* values, const std::uint8_t* columns,
                           const RowGroup* groups, std::int64_t count, void* panel);
  Scatter scatter[2][kLaneChoices];
  // sums[n, r, 0..1] += sum over even and odd lanes of rows[r, :] * panel[columns[n], :], from zero
  // if `fresh`; `pairs` holds the rows as PackingKernels::pack_pairs writes them.
  using Sample = void (*)(const void* panel, const void* pairs, std::int64_t lanes,
                          const std::uint8_t* columns, const RowGroup* groups, std::int64_t count,
                          bool fresh, void* sums);
  Sample sample[2];
  // One input: rows[r] += sum over n of values[r, n] * x[columns[n]]; `width` inputs are there.
  using MultiplyVector = void (*)(const void* x, std::int64_t width, const void* values,
                                  const std::uint8_t* columns, const RowGroup* groups,
                                  std::int64_t count, void* rows);
  MultiplyVector multiply_vector[2];
};

}  // namespace tokfrag::sparse

namespace tokfrag {
TOKFRAG_ISA_TABLE(sparse::BlockKernels, sparse_block_kernels, block_kernels)
}
