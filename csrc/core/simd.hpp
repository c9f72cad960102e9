// The one vocabulary of lanes: registers of one instruction set, by GNU vector extensions, so that
// the same source is SSE2, AVX2, AVX-512 or NEON. Intrinsics stand only where GCC 12 makes several
// instructions of what the machine has one for (float to double and back: two halves and a
// shuffle), and where there is no vector expression (halves, stores around the cache).
//
// For *_kernel.cpp files only: everything lives in an unnamed namespace of one instruction set.
// What lies in one lane never meets another unless a function's name says so.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/numbers.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define TOKFRAG_INLINE inline __attribute__((always_inline))

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// kCount numbers, one a lane.
template <class T, int kCount>
struct VectorOf {
  typedef T type __attribute__((vector_size(kCount * sizeof(T))));
};
template <class T, int kCount>
using Vector = typename VectorOf<T, kCount>::type;

// A register of doubles, its masks, and as many floats and integers.
constexpr int kLanes = kVectorBytes / 8;
using Doubles = Vector<double, kLanes>;
using Longs = Vector<long long, kLanes>;
using Floats = Vector<float, kLanes>;
using Ints = Vector<std::int32_t, kLanes>;

// A register of floats, and as many words.
constexpr int kWideLanes = kVectorBytes / 4;
using WideFloats = Vector<float, kWideLanes>;
using WideWords = Vector<std::uint32_t, kWideLanes>;
using WideShorts = Vector<std::uint16_t, kWideLanes>;

// The same, to be read where arrays of T lie.
template <class T, int kCount>
struct LineOf {
  typedef T type __attribute__((vector_size(kCount * sizeof(T)), may_alias, aligned(sizeof(T))));
};
template <class T, int kCount>
using Line = typename LineOf<T, kCount>::type;

// A register of T, to be read where aligned arrays lie, and eight T anywhere.
template <class T>
struct Simd {
  typedef T Native __attribute__((vector_size(kVectorBytes), may_alias));
  using Eight = Line<T, 8>;
  static constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
};

// body(0), ..., body(kCount - 1), with constant arguments: what body keeps stays in registers.
template <class Body, int... k>
TOKFRAG_INLINE void unrolled(const Body& body, std::integer_sequence<int, k...>) {
  (body(std::integral_constant<int, k>()), ...);
}
template <int kCount, class Body>
TOKFRAG_INLINE void unrolled(const Body& body) {
  unrolled(body, std::make_integer_sequence<int, kCount>());
}

// Any address will do; nothing is assumed of what else lies there.
template <class V>
TOKFRAG_INLINE V load_as(const void* from) {
  V value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class V>
TOKFRAG_INLINE void store_bytes(void* to, const V& value) {
  std::memcpy(to, &value, sizeof value);
}

// All lanes the same. By subtraction: adding to zeros would turn -0.0 into 0.0.
TOKFRAG_INLINE Doubles splat(double value) { return value - Doubles{}; }
TOKFRAG_INLINE WideFloats splat(float value) { return value - WideFloats{}; }

// Around the cache, if the machine can; `to` is aligned to the vector. Call `fence` in the end.
template <class V>
TOKFRAG_INLINE void stream_bytes(void* to, const V& value) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    _mm512_stream_si512(static_cast<__m512i*>(to), bits_as<__m512i>(value));
    return;
  }
#endif
#if defined(__AVX__)
  if constexpr (sizeof(V) == 32) {
    _mm256_stream_si256(static_cast<__m256i*>(to), bits_as<__m256i>(value));
    return;
  }
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(V) == 16) {
    _mm_stream_si128(static_cast<__m128i*>(to), bits_as<__m128i>(value));
    return;
  }
#endif
  store_bytes(to, value);
}

inline void fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// ---- between types

TOKFRAG_INLINE Doubles doubles(Floats value) {
#if defined(__AVX512F__)
  return bits_as<Doubles>(_mm512_maskz_cvtps_pd(0xff, bits_as<__m256>(value)));
#elif defined(__AVX__)
  return bits_as<Doubles>(_mm256_cvtps_pd(bits_as<__m128>(value)));
#elif defined(__SSE2__)
  return _mm_cvtps_pd(_mm_castsi128_ps(_mm_cvtsi64_si128(bits_as<std::int64_t>(value))));
#else
  return __builtin_convertvector(value, Doubles);
#endif
}

TOKFRAG_INLINE Floats floats(Doubles value) {
#if defined(__AVX512F__)
  return bits_as<Floats>(_mm512_maskz_cvtpd_ps(0xff, bits_as<__m512d>(value)));
#elif defined(__AVX__)
  return bits_as<Floats>(_mm256_cvtpd_ps(bits_as<__m256d>(value)));
#else
  return __builtin_convertvector(value, Floats);
#endif
}

TOKFRAG_INLINE Doubles doubles(Ints value) {
#if defined(__AVX512F__)
  return bits_as<Doubles>(_mm512_maskz_cvtepi32_pd(0xff, bits_as<__m256i>(value)));
#elif defined(__AVX__)
  return bits_as<Doubles>(_mm256_cvtepi32_pd(bits_as<__m128i>(value)));
#elif defined(__SSE2__)
  return _mm_cvtepi32_pd(_mm_cvtsi64_si128(bits_as<std::int64_t>(value)));
#else
  return __builtin_convertvector(value, Doubles);
#endif
}

// Numbers of at most 32 bits as that many, by one instruction where there is one.
template <class T>
TOKFRAG_INLINE Ints ints(const T* from) {
#if defined(__AVX2__)
  if constexpr (sizeof(T) < sizeof(std::int32_t)) {  // a register of 16 bytes holds them
    using Packed = Vector<std::int64_t, 2>;
    Packed packed = {};
    std::memcpy(&packed, from, kLanes * sizeof(T));
    const __m128i raw = bits_as<__m128i>(packed);
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, std::uint8_t>) return bits_as<Ints>(_mm256_cvtepu8_epi32(raw));
    if constexpr (std::is_same_v<T, std::int8_t>) return bits_as<Ints>(_mm256_cvtepi8_epi32(raw));
    if constexpr (std::is_same_v<T, std::int16_t>) return bits_as<Ints>(_mm256_cvtepi16_epi32(raw));
#else
    if constexpr (std::is_same_v<T, std::uint8_t>) return bits_as<Ints>(_mm_cvtepu8_epi32(raw));
    if constexpr (std::is_same_v<T, std::int8_t>) return bits_as<Ints>(_mm_cvtepi8_epi32(raw));
    if constexpr (std::is_same_v<T, std::int16_t>) return bits_as<Ints>(_mm_cvtepi16_epi32(raw));
#endif
  }
#endif
  using Numbers = Vector<T, kLanes>;
  return __builtin_convertvector(load_as<Numbers>(from), Ints);
}

// Halves as floats: the same arithmetic as widen(), a register at a time.
TOKFRAG_INLINE WideFloats wide_floats(WideShorts value, BFloat16) {
  return bits_as<WideFloats>(__builtin_convertvector(value, WideWords) << 16);
}
TOKFRAG_INLINE WideFloats wide_floats(WideShorts value, Half) {
#if defined(__AVX512F__)
  return bits_as<WideFloats>(_mm512_maskz_cvtph_ps(0xffff, bits_as<__m256i>(value)));
#elif defined(__F16C__)
  return bits_as<WideFloats>(_mm256_cvtph_ps(bits_as<__m128i>(value)));
#else
  using Signed = Vector<std::int32_t, kWideLanes>;
  const WideWords words = __builtin_convertvector(value, WideWords);
  const WideWords shifted = (words & 0x7fffu) << 13;
  const WideWords finite = bits_as<WideWords>(bits_as<WideFloats>(shifted) * 0x1p112f);
  // Infinities and NaN have come out with 16 for an exponent, whose bits are among all of them.
  const auto special = bits_as<WideWords>(bits_as<Signed>(shifted) >= 0x0f800000);
  return bits_as<WideFloats>(finite | (special & 0x7f800000u) | ((words & 0x8000u) << 16));
#endif
}

TOKFRAG_INLINE WideShorts wide_halves(WideFloats value, BFloat16) {
  const WideWords all = bits_as<WideWords>(value);
  const WideWords rounded = (all + 0x7fffu + ((all >> 16) & 1u)) >> 16;
  return __builtin_convertvector(value != value ? WideWords{} + 0x7fc0u : rounded, WideShorts);
}
TOKFRAG_INLINE WideShorts wide_halves(WideFloats value, Half) {
#if defined(__F16C__)
  // Every NaN becomes the one that narrow makes.
  const WideWords one = WideWords{} + 0x7fc00000u;
  const WideWords bits = value != value ? one : bits_as<WideWords>(value);
#if defined(__AVX512F__)
  const __m512 wide = bits_as<__m512>(bits);
  return bits_as<WideShorts>(_mm512_maskz_cvtps_ph(0xffff, wide, _MM_FROUND_TO_NEAREST_INT));
#else
  return bits_as<WideShorts>(_mm256_cvtps_ph(bits_as<__m256>(bits), _MM_FROUND_TO_NEAREST_INT));
#endif
#else
  // Words are compared as signed numbers: no sign is left in them.
  using Signed = Vector<std::int32_t, kWideLanes>;
  const WideWords all = bits_as<WideWords>(value);
  const WideWords sign = all & 0x80000000u;
  const WideWords magnitude = all ^ sign;
  const Signed size = bits_as<Signed>(magnitude);
  const WideWords normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
  // Below 2^-14 a half's last place is 2^-24, as a float's next to a half is.
  const WideWords small = bits_as<WideWords>(bits_as<WideFloats>(magnitude) + 0.5f) - 0x3f000000u;
  WideWords half = size < 0x38800000 ? small : normal;
  half = size >= 0x47800000 ? WideWords{} + 0x7c00u : half;
  half |= sign >> 16;
  half = size > 0x7f800000 ? WideWords{} + 0x7e00u : half;
  return __builtin_convertvector(half, WideShorts);
#endif
}

// ---- from memory and back

TOKFRAG_INLINE Doubles load(const double* from) { return load_as<Doubles>(from); }
TOKFRAG_INLINE Doubles load(const float* from) { return doubles(load_as<Floats>(from)); }
TOKFRAG_INLINE Doubles load(const BFloat16* from) {
  const auto words = __builtin_convertvector(load_as<Vector<std::uint16_t, kLanes>>(from), Ints)
                     << 16;
  return doubles(bits_as<Floats>(words));
}
TOKFRAG_INLINE Doubles load(const Half* from) {
#if defined(__AVX512F__)
  return doubles(bits_as<Floats>(_mm256_cvtph_ps(load_as<__m128i>(from))));
#elif defined(__F16C__)
  const __m128i four = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return bits_as<Doubles>(_mm256_cvtps_pd(_mm_cvtph_ps(four)));
#else
  Doubles value;
  for (int i = 0; i < kLanes; ++i) value[i] = real_of<double>(from[i]);
  return value;
#endif
}
template <class T>
TOKFRAG_INLINE Doubles load(const T* from) {
  static_assert(std::is_integral_v<T> && sizeof(T) <= 4, "wider integers are not exact");
  return doubles(ints(from));
}

TOKFRAG_INLINE WideFloats load_wide(const float* from) { return load_as<WideFloats>(from); }
template <class T>
TOKFRAG_INLINE WideFloats load_wide(const T* from) {
  return wide_floats(load_as<WideShorts>(from), T{});
}

// What `store` puts down, as a vector.
TOKFRAG_INLINE Doubles packed(Doubles value, double) { return value; }
TOKFRAG_INLINE Floats packed(Doubles value, float) { return floats(value); }
template <class T>
TOKFRAG_INLINE auto packed(Doubles value, T) {
  static_assert(std::is_integral_v<T>, "halves have their own");
  constexpr bool is_signed = std::is_signed_v<T>;
  constexpr double high =
      static_cast<double>((std::uint64_t{1} << (8 * sizeof(T) - (is_signed ? 1 : 0))) - 1);
  constexpr double low = is_signed ? -high - 1 : 0;
  constexpr double kRound = 6755399441055744.0;  // as integer_of
  Doubles inside = value == value ? value : Doubles{};
#if defined(__AVX512F__)
  inside = _mm512_maskz_min_pd(0xff, _mm512_maskz_max_pd(0xff, inside, splat(low)), splat(high));
  const Ints rounded = bits_as<Ints>(_mm512_maskz_cvtpd_epi32(0xff, inside));
#elif defined(__AVX__)
  inside = _mm256_min_pd(_mm256_max_pd(inside, splat(low)), splat(high));
  const Ints rounded = bits_as<Ints>(_mm256_cvtpd_epi32(inside));
#else
  inside = inside < low ? splat(low) : inside;
  inside = inside > high ? splat(high) : inside;
  const Ints rounded = __builtin_convertvector((inside + kRound) - kRound, Ints);
#endif
  static_cast<void>(kRound);
  return __builtin_convertvector(rounded, Vector<T, kLanes>);
}
TOKFRAG_INLINE Vector<std::uint16_t, kLanes> packed(Doubles value, BFloat16) {
  const Ints all = bits_as<Ints>(floats(value));
  using Words = Vector<std::uint32_t, kLanes>;
  const Words bits = bits_as<Words>(all);
  const Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Words nan = bits_as<Words>((bits & 0x7fffffffu) > 0x7f800000u);
  return __builtin_convertvector((nan & 0x7fc0u) | (~nan & rounded), Vector<std::uint16_t, kLanes>);
}
TOKFRAG_INLINE Vector<std::uint16_t, kLanes> packed(Doubles value, Half) {
  using Halves = Vector<std::uint16_t, kLanes>;
#if defined(__F16C__)
  using Words = Vector<std::uint32_t, kLanes>;
  const Floats wide = floats(value);
  // Every NaN becomes the one that narrow makes.
  const Words nan = bits_as<Words>(wide != wide);
  const Words bits = (nan & 0x7fc00000u) | (~nan & bits_as<Words>(wide));
#if defined(__AVX512F__)
  return bits_as<Halves>(_mm256_cvtps_ph(bits_as<__m256>(bits), _MM_FROUND_TO_NEAREST_INT));
#else
  const __m128i four = _mm_cvtps_ph(bits_as<__m128>(bits), _MM_FROUND_TO_NEAREST_INT);
  return load_as<Halves>(&four);
#endif
#else
  Halves result;
  for (int i = 0; i < kLanes; ++i) {
    Half lane;
    narrow(value[i], lane);
    result[i] = lane.bits;
  }
  return result;
#endif
}
TOKFRAG_INLINE WideFloats packed(WideFloats value, float) { return value; }
template <class T>
TOKFRAG_INLINE WideShorts packed(WideFloats value, T half) {
  return wide_halves(value, half);
}

// Each number rounded once (halves through float32), integers to nearest even, saturated.
template <class T, class V>
TOKFRAG_INLINE void store(T* to, V value) {
  store_bytes(to, packed(value, T{}));
}
template <class T, class V>
TOKFRAG_INLINE void stream(T* to, V value) {
  stream_bytes(to, packed(value, T{}));
}

// Two vectors as one: a's lanes, then b's.
template <class V, int... k>
TOKFRAG_INLINE auto joined(const V& a, const V& b, std::integer_sequence<int, k...>) {
  return __builtin_shufflevector(a, b, k...);
}

// Two registers' numbers around the cache, as one store where that is no longer than a register.
template <class T, class V>
TOKFRAG_INLINE void stream_two(T* to, V first, V second) {
  const auto a = packed(first, T{});
  const auto b = packed(second, T{});
  constexpr int kEach = static_cast<int>(sizeof(a) / sizeof(T));
  if constexpr (2 * sizeof(a) <= kVectorBytes) {
    stream_bytes(to, joined(a, b, std::make_integer_sequence<int, 2 * kEach>()));
  } else {
    stream_bytes(to, a);
    stream_bytes(to + kEach, b);
  }
}

// ---- extremes

// A NaN is kept: it is unequal to itself, and no comparison replaces it.
template <bool kGreatest>
inline double extreme(double best, double value) {
  return value != value || (kGreatest ? value > best : value < best) ? value : best;
}

template <bool kGreatest>
TOKFRAG_INLINE void keep_extreme(Doubles& best, const Doubles& value) {
  const Longs better = kGreatest ? value > best : value < best;
  const Longs unordered = value != value;
  best = (better | unordered) != 0 ? value : best;
}

// The smaller and the greater of two in every lane; b's where one is NaN.
template <class V>
TOKFRAG_INLINE V smaller(const V& a, const V& b) {
#if defined(__SSE2__)
  if constexpr (std::is_same_v<V, Vector<float, 4>>) return _mm_min_ps(a, b);
#endif
#if defined(__AVX__)
  if constexpr (std::is_same_v<V, Vector<float, 8>>) return _mm256_min_ps(a, b);
#endif
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Vector<float, 16>>) return _mm512_maskz_min_ps(0xffff, a, b);
#endif
  return a < b ? a : b;
}
template <class V>
TOKFRAG_INLINE V greater(const V& a, const V& b) {
#if defined(__SSE2__)
  if constexpr (std::is_same_v<V, Vector<float, 4>>) return _mm_max_ps(a, b);
#endif
#if defined(__AVX__)
  if constexpr (std::is_same_v<V, Vector<float, 8>>) return _mm256_max_ps(a, b);
#endif
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Vector<float, 16>>) return _mm512_maskz_max_ps(0xffff, a, b);
#endif
  return a > b ? a : b;
}

// ---- across lanes

// Rows to columns.
TOKFRAG_INLINE void transpose(Doubles (&block)[kLanes]) {
#if defined(__AVX512F__)
  Doubles pairs[kLanes];
  unrolled<4>([&](auto k) {
    const Doubles& a = block[2 * k];
    const Doubles& b = block[2 * k + 1];
    pairs[2 * k] = __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
    pairs[2 * k + 1] = __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  });
  Doubles quads[kLanes];
  unrolled<4>([&](auto k) {
    constexpr int from = k / 2 * 4 + k % 2;
    const Doubles& a = pairs[from];
    const Doubles& b = pairs[from + 2];
    quads[from] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
    quads[from + 2] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
  });
  unrolled<4>([&](auto k) {
    const Doubles& a = quads[k];
    const Doubles& b = quads[k + 4];
    block[k] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
    block[k + 4] = __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
  });
#elif defined(__AVX__)
  Doubles pairs[kLanes];
  unrolled<2>([&](auto k) {
    const Doubles& a = block[2 * k];
    const Doubles& b = block[2 * k + 1];
    pairs[2 * k] = __builtin_shufflevector(a, b, 0, 4, 2, 6);
    pairs[2 * k + 1] = __builtin_shufflevector(a, b, 1, 5, 3, 7);
  });
  unrolled<2>([&](auto k) {
    const Doubles& a = pairs[k];
    const Doubles& b = pairs[k + 2];
    block[k] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    block[k + 2] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  });
#else
  const Doubles first = __builtin_shufflevector(block[0], block[1], 0, 2);
  block[1] = __builtin_shufflevector(block[0], block[1], 1, 3);
  block[0] = first;
#endif
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
