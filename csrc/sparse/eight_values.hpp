// Eight stored values as floats, where there is AVX2.
#pragma once

#include "core/half.hpp"
#include "core/simd.hpp"

#if defined(__AVX2__)
#include <immintrin.h>

namespace tokfrag::TOKFRAG_ISA {

TOKFRAG_INLINE __m256 load_eight_values(const float* from) { return _mm256_loadu_ps(from); }
TOKFRAG_INLINE __m256 load_eight_values(const Half* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
TOKFRAG_INLINE __m256 load_eight_values(const BFloat16* from) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

}  // namespace tokfrag::TOKFRAG_ISA
#endif
