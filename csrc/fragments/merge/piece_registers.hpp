// Numbers of fragments as registers, and registers as numbers of the output, for piece_kernel.cpp.
// As core/simd.hpp: everything lives in an unnamed namespace of one instruction set.
#pragma once

#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

using WideBytes = Vector<std::uint8_t, kWideLanes>;
using WideInts = Vector<std::int32_t, kWideLanes>;

// Bytes as floats, and back: rounded half to even, saturated; never NaN.
TOKFRAG_INLINE WideFloats wide_bytes(const char* from) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtepi32_ps(0xffff,
                                  _mm512_maskz_cvtepu8_epi32(0xffff, load_as<__m128i>(from)));
#elif defined(__AVX2__)
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#elif defined(__SSE2__)
  const __m128i none = _mm_setzero_si128();
  const __m128i words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(load_as<std::int32_t>(from)), none);
  return _mm_cvtepi32_ps(_mm_unpacklo_epi16(words, none));
#else
  return __builtin_convertvector(__builtin_convertvector(load_as<WideBytes>(from), WideInts),
                                 WideFloats);
#endif
}
TOKFRAG_INLINE WideBytes packed_bytes(WideFloats value) {
#if defined(__AVX512F__)
  const __m512i words = _mm512_maskz_cvtps_epi32(0xffff, value);
  return bits_as<WideBytes>(_mm512_maskz_cvtusepi32_epi8(0xffff, words));
#else
  constexpr float kRound = 12582912.0f;  // numbers of this size have no fractions
  const WideFloats high = splat(255.0f);
  const WideFloats inside = value < high ? value : high;
  return __builtin_convertvector(__builtin_convertvector((inside + kRound) - kRound, WideInts),
                                 WideBytes);
#endif
}

#if defined(__SSE2__) && !defined(__AVX512F__)
// Four registers' numbers at once: no lane crosses to another in between.
TOKFRAG_INLINE auto packed_bytes(WideFloats a, WideFloats b, WideFloats c, WideFloats d) {
#if defined(__AVX2__)
  const __m256i low = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
  const __m256i high = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
  // Each half of a register was packed apart.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
#else
  const __m128i low = _mm_packs_epi32(_mm_cvtps_epi32(a), _mm_cvtps_epi32(b));
  const __m128i high = _mm_packs_epi32(_mm_cvtps_epi32(c), _mm_cvtps_epi32(d));
  return _mm_packus_epi16(low, high);
#endif
}
#endif

// A register's worth of numbers, or (V double or float) one.
template <class V, class T>
TOKFRAG_INLINE V numbers_at(const char* from) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Doubles> && std::is_same_v<T, std::uint8_t>) {
    return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_loadu_si32(from)));
  }
#elif defined(__SSE2__) && !defined(__AVX__)
  if constexpr (std::is_same_v<V, Doubles> && std::is_same_v<T, std::uint8_t>) {
    const __m128i none = _mm_setzero_si128();
    const __m128i words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(load_as<std::uint16_t>(from)), none);
    return _mm_cvtepi32_pd(_mm_unpacklo_epi16(words, none));
  }
#endif
  if constexpr (std::is_same_v<V, Doubles>) {
    return load(reinterpret_cast<const T*>(from));
  } else if constexpr (std::is_same_v<V, WideFloats> && std::is_integral_v<T>) {
    return wide_bytes(from);
  } else if constexpr (std::is_same_v<V, WideFloats>) {
    return load_wide(reinterpret_cast<const T*>(from));
  } else {
    return real_of<V>(load_as<T>(from));
  }
}

template <class V, class Real>
TOKFRAG_INLINE V all(Real value) {
  if constexpr (sizeof(V) == sizeof(Real)) {
    return value;
  } else {
    return splat(value);
  }
}

// Several registers' numbers, as they would be stored one by one.
template <class T, class V, int kCount>
TOKFRAG_INLINE void put_registers(T* to, const V (&values)[kCount], bool streamed) {
  constexpr std::int64_t kStep = std::is_same_v<V, WideFloats> ? kWideLanes : kLanes;
#if defined(__AVX2__) && !defined(__AVX512F__)
  if constexpr (std::is_same_v<T, std::uint8_t> && std::is_same_v<V, Doubles> && kCount % 4 == 0) {
    // A NaN is what the minimum keeps, becomes the lowest integer, and is saturated to 0.
    const auto words = [&](int i) __attribute__((always_inline)) {
      return _mm256_cvtpd_epi32(_mm256_min_pd(splat(255.0), values[i]));
    };
    unrolled<kCount / 4>([&](auto i) __attribute__((always_inline)) {
      const __m128i low = _mm_packs_epi32(words(4 * i), words(4 * i + 1));
      const __m128i high = _mm_packs_epi32(words(4 * i + 2), words(4 * i + 3));
      const __m128i bytes = _mm_packus_epi16(low, high);
      streamed ? stream_bytes(to + i * 16, bytes) : store_bytes(to + i * 16, bytes);
    });
    return;
  }
  if constexpr (std::is_same_v<T, float> && std::is_same_v<V, Doubles> && kCount % 2 == 0) {
    // GCC 12 makes three instructions of what joins two halves.
    if (streamed) {
      unrolled<kCount / 2>([&](auto i) __attribute__((always_inline)) {
        const __m256 low = _mm256_castps128_ps256(_mm256_cvtpd_ps(values[2 * i]));
        const __m128 high = _mm256_cvtpd_ps(values[2 * i + 1]);
        _mm256_stream_ps(to + 2 * i * kStep, _mm256_insertf128_ps(low, high, 1));
      });
      return;
    }
  }
#endif
#if defined(__SSE2__) && !defined(__AVX__)
  if constexpr (std::is_same_v<T, std::uint8_t> && std::is_same_v<V, Doubles> && kCount % 8 == 0) {
    // As above.
    const auto two = [&](int i) __attribute__((always_inline)) {
      return _mm_cvtpd_epi32(_mm_min_pd(splat(255.0), values[i]));
    };
    const auto four = [&](int i) __attribute__((always_inline)) {
      return _mm_unpacklo_epi64(two(i), two(i + 1));
    };
    unrolled<kCount / 8>([&](auto i) __attribute__((always_inline)) {
      const __m128i low = _mm_packs_epi32(four(8 * i), four(8 * i + 2));
      const __m128i high = _mm_packs_epi32(four(8 * i + 4), four(8 * i + 6));
      const __m128i bytes = _mm_packus_epi16(low, high);
      streamed ? stream_bytes(to + i * 16, bytes) : store_bytes(to + i * 16, bytes);
    });
    return;
  }
#endif
#if defined(__SSE2__) && !defined(__AVX512F__)
  if constexpr (std::is_same_v<V, WideFloats> && std::is_integral_v<T> && kCount % 4 == 0) {
    unrolled<kCount / 4>([&](auto i) __attribute__((always_inline)) {
      const auto bytes =
          packed_bytes(values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3]);
      T* const at = to + 4 * i * kStep;
      streamed ? stream_bytes(at, bytes) : store_bytes(at, bytes);
    });
    return;
  }
#endif
  if constexpr (std::is_same_v<V, WideFloats> && std::is_integral_v<T>) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      const auto bytes = packed_bytes(values[i]);
      streamed ? stream_bytes(to + i * kStep, bytes) : store_bytes(to + i * kStep, bytes);
    });
  } else {
    if constexpr (kCount % 2 == 0) {
      if (streamed) {
        unrolled<kCount / 2>([&](auto i) __attribute__((always_inline)) {
          stream_two(to + 2 * i * kStep, values[2 * i], values[2 * i + 1]);
        });
        return;
      }
    }
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      streamed ? stream(to + i * kStep, values[i]) : store(to + i * kStep, values[i]);
    });
  }
}

template <class T, class V, int kCount>
TOKFRAG_INLINE void put_all(T* to, const V (&values)[kCount], [[maybe_unused]] bool streamed) {
  if constexpr (std::is_floating_point_v<V>) {
    put_number(values[0], to[0]);
  } else {
    put_registers(to, values, streamed);
  }
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
