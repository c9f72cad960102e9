#include "sparse/descent_kernel.hpp"

#include "core/simd.hpp"

namespace tokfrag::TOKFRAG_ISA {

using sparse::DescentKernels;
using sparse::kDescentLanes;

namespace {

template <class T>
void descend(void* weights_address, const void* residual_address, void* change_address,
             const void* gram_address, const void* keep_address, double alpha_given,
             std::int64_t width, std::int64_t passes, void* progress_address) {
  using V = typename Simd<T>::Native;
  constexpr int kVectors = static_cast<int>(kDescentLanes) / Simd<T>::kWidth;
  auto* weights = static_cast<V*>(weights_address);
  const auto* residual = static_cast<const V*>(residual_address);
  auto* change = static_cast<V*>(change_address);
  const auto* gram = static_cast<const T*>(gram_address);
  const auto* keep = static_cast<const V*>(keep_address);
  auto* progress = static_cast<V*>(progress_address);
  const T alpha = static_cast<T>(alpha_given);
  const V zero = {};

  for (std::int64_t pass = 0; pass < passes; ++pass) {
    for (std::int64_t j = 0; j < width; ++j) {
      const T* line = gram + j * width;
      const T diagonal = line[j];
      if (!(diagonal > T(0))) continue;
      // The residual as the block's changes so far leave it; two sums hide the addition's latency.
      V sums[2][kVectors];
      for (int v = 0; v < kVectors; ++v) {
        sums[0][v] = residual[j * kVectors + v];
        sums[1][v] = zero;
      }
      std::int64_t i = 0;
      for (; i + 2 <= width; i += 2) {
        for (int v = 0; v < kVectors; ++v) {
          sums[0][v] -= change[i * kVectors + v] * line[i];
          sums[1][v] -= change[(i + 1) * kVectors + v] * line[i + 1];
        }
      }
      for (; i < width; ++i) {
        for (int v = 0; v < kVectors; ++v) sums[0][v] -= change[i * kVectors + v] * line[i];
      }
      for (int v = 0; v < kVectors; ++v) {
        const V old = weights[j * kVectors + v];
        const V z = sums[0][v] + sums[1][v] + old * diagonal;
        const V above = z - alpha;
        const V below = z + alpha;
        V fresh = ((above > zero) ? above : ((below < zero) ? below : zero)) / diagonal;
        if (keep != nullptr) fresh = old + (fresh - old) * keep[j * kVectors + v];
        const V step = fresh - old;
        weights[j * kVectors + v] = fresh;
        change[j * kVectors + v] += step;
        progress[v] += step * step * diagonal;
      }
    }
  }
}

}  // namespace

extern const DescentKernels sparse_descent_kernels;
const DescentKernels sparse_descent_kernels = {{descend<float>, descend<double>}};

}  // namespace tokfrag::TOKFRAG_ISA
