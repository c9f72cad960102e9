// Products of a bitmap matrix with many inputs, by the kernels of the tiled form.
//
// Row by row under a bitmap, each four inputs would read all weights again. Here a tile is written
// out as the tiled products take it, once for up to 256 inputs, and forgotten: nothing is kept
// beside the bitmap.
#pragma once

#include "sparse/bitmap.hpp"
#include "sparse/bitmap_tiles_kernel.hpp"

namespace tokfrag::sparse {

struct BitmapValues {
  int kind;  // an Element, or kCodes
  const void* data;
  const float* scales = nullptr;  // of codes: (rows, groups)
  std::int64_t group_words = 1;
};

// y (batch, rows) = x (batch, columns) W^T + bias; x, bias and y of `element`. `bitmap` is that of
// `matrix`. Sums run over a row's columns in their order, one accumulator an input.
void multiply_by_tiles(const Bitmap& matrix, const std::uint64_t* bitmap,
                       const BitmapValues& values, Element element, const void* x,
                       std::int64_t batch, const void* bias, void* y, int threads);

}  // namespace tokfrag::sparse
