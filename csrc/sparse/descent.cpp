#include "sparse/descent.hpp"

#include <algorithm>
#include <type_traits>

#include "core/parallel.hpp"
#include "sparse/descent_kernel.hpp"

namespace tokfrag::sparse {

template <class T>
void descend_block(T* weights, std::int64_t stride, const T* residual, const T* gram,
                   const std::uint8_t* mask, std::int64_t mask_stride, double alpha,
                   std::int64_t rows, std::int64_t width, std::int64_t passes, T* progress,
                   int threads) {
  constexpr std::int64_t kLanes = kDescentLanes;
  const auto descend = descent_kernels().descend[std::is_same_v<T, double> ? 1 : 0];
  parallel_for(
      (rows + kLanes - 1) / kLanes, 2, threads, [&](std::int64_t begin, std::int64_t end, int) {
        struct alignas(64) Tile {
          T values[kDescentBlock * kLanes];
        };
        Tile w;
        Tile r;
        Tile change;
        Tile keep;
        alignas(64) T gained[kLanes];
        for (std::int64_t tile = begin; tile < end; ++tile) {
          const std::int64_t first = tile * kLanes;
          const std::int64_t count = std::min(kLanes, rows - first);
          std::fill(w.values, w.values + width * kLanes, T(0));
          std::fill(r.values, r.values + width * kLanes, T(0));
          std::fill(change.values, change.values + width * kLanes, T(0));
          std::fill(gained, gained + kLanes, T(0));
          for (std::int64_t lane = 0; lane < count; ++lane) {
            const std::int64_t row = first + lane;
            for (std::int64_t j = 0; j < width; ++j) {
              w.values[j * kLanes + lane] = weights[row * stride + j];
              r.values[j * kLanes + lane] = residual[row * width + j];
            }
          }
          if (mask != nullptr) {
            for (std::int64_t lane = 0; lane < kLanes; ++lane) {
              for (std::int64_t j = 0; j < width; ++j) {
                const bool kept = lane < count && mask[(first + lane) * mask_stride + j] != 0;
                keep.values[j * kLanes + lane] = kept ? T(1) : T(0);
              }
            }
          }
          descend(w.values, r.values, change.values, gram, mask != nullptr ? keep.values : nullptr,
                  alpha, width, passes, gained);
          for (std::int64_t lane = 0; lane < count; ++lane) {
            const std::int64_t row = first + lane;
            for (std::int64_t j = 0; j < width; ++j) {
              weights[row * stride + j] = w.values[j * kLanes + lane];
            }
            progress[row] += gained[lane];
          }
        }
      });
}

template void descend_block(float*, std::int64_t, const float*, const float*, const std::uint8_t*,
                            std::int64_t, double, std::int64_t, std::int64_t, std::int64_t, float*,
                            int);
template void descend_block(double*, std::int64_t, const double*, const double*,
                            const std::uint8_t*, std::int64_t, double, std::int64_t, std::int64_t,
                            std::int64_t, double*, int);

}  // namespace tokfrag::sparse
