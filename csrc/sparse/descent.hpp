// Coordinate descent on one block of coordinates for many rows, over threads.
#pragma once

#include <cstdint>

namespace tokfrag::sparse {

// T is float or double. weights: `rows` lines of `width` (<= 128) coordinates, `stride` apart, read
// and written. residual (rows, width): c - w G at entry, for these coordinates. gram (width,
// width): the block of G. mask: bytes, `mask_stride` apart a line, or null; a zero byte freezes its
// coordinate. progress (rows): grows by the sum of G_jj (change of w_j)^2. alpha >= 0.
template <class T>
void descend_block(T* weights, std::int64_t stride, const T* residual, const T* gram,
                   const std::uint8_t* mask, std::int64_t mask_stride, double alpha,
                   std::int64_t rows, std::int64_t width, std::int64_t passes, T* progress,
                   int threads);

extern template void descend_block(float*, std::int64_t, const float*, const float*,
                                   const std::uint8_t*, std::int64_t, double, std::int64_t,
                                   std::int64_t, std::int64_t, float*, int);
extern template void descend_block(double*, std::int64_t, const double*, const double*,
                                   const std::uint8_t*, std::int64_t, double, std::int64_t,
                                   std::int64_t, std::int64_t, double*, int);

}  // namespace tokfrag::sparse
