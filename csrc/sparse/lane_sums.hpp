// Sums and look-ups across the lanes of sparse products, for *_kernel.cpp only: everything lives in
// that level's namespace.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/simd.hpp"

namespace tokfrag::TOKFRAG_ISA {
namespace {

// Asks for what stands two kilobytes after the next `count` numbers. Of a matrix that is larger
// than the cache, one product alone does not keep enough lines on their way (1.3 to 1.5x).
template <class T>
TOKFRAG_INLINE void ask_ahead(const T* from, int count) {
  const char* line = reinterpret_cast<const char*>(from) + 2048;
  for (const char* end = line + count * static_cast<int>(sizeof(T)); line < end; line += 64) {
    __builtin_prefetch(line);
  }
}

// Sums of eight vectors of eight, as one vector.
template <class E>
TOKFRAG_INLINE void sum_across(E (&a)[8], E& out) {
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    a[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13) +
           __builtin_shufflevector(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    a[i] = __builtin_shufflevector(a[i], a[i + 2], 0, 1, 8, 9, 4, 5, 12, 13) +
           __builtin_shufflevector(a[i], a[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  out = __builtin_shufflevector(a[0], a[4], 0, 1, 2, 3, 8, 9, 10, 11) +
        __builtin_shufflevector(a[0], a[4], 4, 5, 6, 7, 12, 13, 14, 15);
}

// Folds the partial sums of a 64-byte group (16 floats or 8 doubles) to eight, the upper half of
// floats onto the lower; the same sums however many vectors the group takes.
template <class T>
TOKFRAG_INLINE void fold(const typename Simd<T>::Native* parts, typename Simd<T>::Eight& out) {
  using E = typename Simd<T>::Eight;
  constexpr bool kFloat = sizeof(T) == 4;
  if constexpr (kVectorBytes == 64 && kFloat) {
    out = E(__builtin_shufflevector(parts[0], parts[0], 0, 1, 2, 3, 4, 5, 6, 7)) +
          E(__builtin_shufflevector(parts[0], parts[0], 8, 9, 10, 11, 12, 13, 14, 15));
  } else if constexpr (kVectorBytes == 64) {
    out = E(parts[0]);
  } else if constexpr (kVectorBytes == 32 && kFloat) {
    out = E(parts[0] + parts[1]);
  } else if constexpr (kVectorBytes == 32) {
    out = E(__builtin_shufflevector(parts[0], parts[1], 0, 1, 2, 3, 4, 5, 6, 7));
  } else {
    typename Simd<T>::Native halves[4];
    for (int i = 0; i < 4; ++i) halves[i] = parts[i];
    if (kFloat) {
      halves[0] += halves[2];
      halves[1] += halves[3];
    }
    std::memcpy(&out, halves, sizeof out);
  }
}

// Vectors that make up a 64-byte group.
constexpr int kGroupParts = 64 / kVectorBytes;

// Sums of eight groups of partial sums, the same however many vectors a group takes.
template <class T>
TOKFRAG_INLINE void sum_eight(typename Simd<T>::Native (&sums)[8][kGroupParts],
                              typename Simd<T>::Eight& out) {
  using V = typename Simd<T>::Native;
  using E = typename Simd<T>::Eight;
  if constexpr (Simd<T>::kWidth == 16) {
    // Folded two by two, i beside i + 4: half the shuffles, the same additions.
    V a[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const V low = sums[i][0];
      const V high = sums[i + 4][0];
      a[i] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22,
                                     23) +
             __builtin_shufflevector(low, high, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28,
                                     29, 30, 31);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 4; i += 2) {
      a[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12,
                                     28, 13, 29) +
             __builtin_shufflevector(a[i], a[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14,
                                     30, 15, 31);
    }
    const V fours = __builtin_shufflevector(a[0], a[2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25,
                                            12, 13, 28, 29) +
                    __builtin_shufflevector(a[0], a[2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27,
                                            14, 15, 30, 31);
    out = __builtin_shufflevector(fours, fours, 0, 1, 2, 3, 8, 9, 10, 11) +
          __builtin_shufflevector(fours, fours, 4, 5, 6, 7, 12, 13, 14, 15);
  } else {
    Vector<T, 8> eights[8];
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      E eight;
      fold<T>(sums[k], eight);
      eights[k] = eight;
    }
    Vector<T, 8> total;
    sum_across(eights, total);
    out = total;
  }
}

#if defined(__AVX512F__)
// A chunk's 128 inputs in eight registers, and sixteen of them looked up at once by permutes:
// cheaper than a gather.
struct ChunkOfInputs {
  __m512 x[8];

  ChunkOfInputs(const float* from, std::int64_t width) {
    alignas(64) float padded[128] = {};
    std::memcpy(padded, from, static_cast<std::size_t>(width) * sizeof(float));
    for (int k = 0; k < 8; ++k) x[k] = _mm512_load_ps(padded + 16 * k);
  }
  // Whether none of the inputs is infinite or NaN.
  bool finite() const {
    constexpr int kNaNsAndInfinities = 0x01 | 0x80 | 0x08 | 0x10;
    unsigned found = 0;
    for (int k = 0; k < 8; ++k) found |= _mm512_fpclass_ps_mask(x[k], kNaNsAndInfinities);
    return found == 0;
  }
  TOKFRAG_INLINE __m512 at(__m512i columns) const {
    const __mmask16 high = _mm512_test_epi32_mask(columns, _mm512_set1_epi32(64));
    const __mmask16 odd = _mm512_test_epi32_mask(columns, _mm512_set1_epi32(32));
    const __m512 low_half = _mm512_mask_blend_ps(odd, _mm512_permutex2var_ps(x[0], columns, x[1]),
                                                 _mm512_permutex2var_ps(x[2], columns, x[3]));
    const __m512 high_half = _mm512_mask_blend_ps(odd, _mm512_permutex2var_ps(x[4], columns, x[5]),
                                                  _mm512_permutex2var_ps(x[6], columns, x[7]));
    return _mm512_mask_blend_ps(high, low_half, high_half);
  }
};
#endif

}  // namespace
}  // namespace tokfrag::TOKFRAG_ISA
