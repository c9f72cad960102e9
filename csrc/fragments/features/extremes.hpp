// The greater and the smaller one of doubles.
#pragma once

#include <type_traits>

#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

// In every lane; b's where they are equal, or where one is NaN.
template <bool kGreatest, class V>
TOKFRAG_INLINE V nearer(const V& a, const V& b) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Doubles>) {
    return kGreatest ? _mm512_maskz_max_pd(0xff, a, b) : _mm512_maskz_min_pd(0xff, a, b);
  }
#elif defined(__AVX__)
  if constexpr (std::is_same_v<V, Doubles>) {
    return kGreatest ? _mm256_max_pd(a, b) : _mm256_min_pd(a, b);
  }
#elif defined(__SSE2__)
  if constexpr (std::is_same_v<V, Doubles>) {
    return kGreatest ? _mm_max_pd(a, b) : _mm_min_pd(a, b);
  }
#endif
  return kGreatest ? (a > b ? a : b) : (a < b ? a : b);
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
