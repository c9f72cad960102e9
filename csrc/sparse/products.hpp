// Products of a sparse matrix with batches of dense vectors, over threads.
//
// All arrays are row-major and contiguous, of one element type; half and bfloat16 are computed in
// float. Each output element is summed in one fixed order whatever the number of threads. A layout
// with row groups (Pattern::blocked) takes the kernels of blocks of eight rows.
#pragma once

#include <cstdint>

#include "sparse/layout.hpp"
#include "sparse/packing_kernel.hpp"

namespace tokfrag::sparse {

struct Batch {
  const void* data;  // (count, extent)
  std::int64_t count;
};

// y (batch, rows) = x (batch, columns) W^T + bias; bias (rows) may be null.
void multiply(Element element, const Layout& layout, Batch x, const void* values, const void* bias,
              void* y, int threads);

// Whether a product of one input is faster with the layout's bit masks.
bool masks_pay(Element element, const Pattern& pattern, std::int64_t batch);

// y (batch, columns) = x (batch, rows) W: the input gradient. `layout` is the stored matrix.
void multiply_transposed(Element element, const Pattern& pattern, const Layout& layout, Batch x,
                         const void* values, void* y, int threads);

// out[i] = sum over the batch of grad[b, row(i)] x[b, column(i)] for each stored value i.
void sample(Element element, const Layout& layout, Batch grad, const void* x, void* out,
            int threads);

// Rows of a sparse table (rows, columns) kept by plain CSR with 16-bit columns; ids (count).
// out (count, columns) = table[ids].
void lookup(Element element, const std::int64_t* offsets, const std::int16_t* local,
            const void* values, std::int64_t columns, const std::int64_t* ids, std::int64_t count,
            void* out, int threads);
// out[i] = sum over b with ids[b] = row(i) of grad[b, column(i)], b ascending.
void lookup_gradient(Element element, const std::int64_t* offsets, const std::int16_t* local,
                     std::int64_t rows, std::int64_t columns, const std::int64_t* ids,
                     std::int64_t count, const void* grad, void* out, int threads);

}  // namespace tokfrag::sparse
