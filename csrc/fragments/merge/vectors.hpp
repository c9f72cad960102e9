// Registers of doubles, loaded from and stored to every type merge takes. For *_kernel.cpp files
// only: everything here lives in an unnamed namespace of one instruction set.
#pragma once

#include <cstdint>
#include <type_traits>

#include "fragments/merge/numbers.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// A register of doubles, and the same many narrower numbers (GNU vector extensions).
#if defined(__AVX512F__)
constexpr int kLanes = 8;
#elif defined(__AVX__)
constexpr int kLanes = 4;
#else
constexpr int kLanes = 2;
#endif
typedef double Doubles __attribute__((vector_size(kLanes * 8)));
typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef std::uint32_t Words __attribute__((vector_size(kLanes * 4)));
typedef std::uint16_t Shorts __attribute__((vector_size(kLanes * 2)));

template <class V>
inline V load_as(const void* from) {
  V value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Between float and double. GCC 12 makes two halves of __builtin_convertvector with AVX-512, and
// warns of its own but in the masked forms.
inline Doubles doubles(Floats value) {
#if defined(__AVX512F__)
  return bits_as<Doubles>(_mm512_maskz_cvtps_pd(0xff, bits_as<__m256>(value)));
#else
  return __builtin_convertvector(value, Doubles);
#endif
}
inline Floats floats(Doubles value) {
#if defined(__AVX512F__)
  return bits_as<Floats>(_mm512_maskz_cvtpd_ps(0xff, bits_as<__m512d>(value)));
#else
  return __builtin_convertvector(value, Floats);
#endif
}

inline Doubles load(const float* from) { return doubles(load_as<Floats>(from)); }
inline Doubles load(const double* from) { return load_as<Doubles>(from); }
inline Doubles load(const BFloat16* from) {
  const Words words = __builtin_convertvector(load_as<Shorts>(from), Words) << 16;
  return doubles(bits_as<Floats>(words));
}
inline Doubles load(const Half* from) {
#if defined(__AVX512F__)
  const __m256 eight = _mm256_cvtph_ps(load_as<__m128i>(from));
  return doubles(bits_as<Floats>(eight));
#elif defined(__F16C__)
  const __m128i four = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return bits_as<Doubles>(_mm256_cvtps_pd(_mm_cvtph_ps(four)));
#else
  Doubles value;
  for (int i = 0; i < kLanes; ++i) value[i] = as_double(from[i]);
  return value;
#endif
}
template <class T>
inline Doubles load(const T* from) {
  typedef T Numbers __attribute__((vector_size(kLanes * sizeof(T))));
  return __builtin_convertvector(load_as<Numbers>(from), Doubles);
}

template <class T>
inline void store_lanes(T* to, Doubles value) {
  for (int i = 0; i < kLanes; ++i) store_number(value[i], to[i]);
}
inline void store_lanes(double* to, Doubles value) { std::memcpy(to, &value, sizeof value); }
inline void store_lanes(float* to, Doubles value) {
  const Floats narrowed = floats(value);
  std::memcpy(to, &narrowed, sizeof narrowed);
}
inline void store_lanes(BFloat16* to, Doubles value) {
  const Words all = bits_as<Words>(floats(value));
  const Words rounded = (all + 0x7fffu + ((all >> 16) & 1u)) >> 16;
  const Words nan = static_cast<Words>((all & 0x7fffffffu) > 0x7f800000u);
  const Words result = (nan & 0x7fc0u) | (~nan & rounded);
  const Shorts narrowed = __builtin_convertvector(result, Shorts);
  std::memcpy(to, &narrowed, sizeof narrowed);
}
#if defined(__F16C__)
inline void store_lanes(Half* to, Doubles value) {
  const Floats wide = floats(value);
  // Every NaN becomes the one that narrow makes.
  const Words nan = static_cast<Words>(wide != wide);
  const Words bits = (nan & 0x7fc00000u) | (~nan & bits_as<Words>(wide));
#if defined(__AVX512F__)
  const __m128i narrowed = _mm256_cvtps_ph(bits_as<__m256>(bits), _MM_FROUND_TO_NEAREST_INT);
  std::memcpy(to, &narrowed, 16);
#else
  const __m128i narrowed = _mm_cvtps_ph(bits_as<__m128>(bits), _MM_FROUND_TO_NEAREST_INT);
  std::memcpy(to, &narrowed, 8);
#endif
}
#endif

// Around the cache; `to` is aligned to the vector.
template <class T>
inline void stream(T* to, Doubles value) {
  store_lanes(to, value);
}
#if defined(__AVX512F__)
inline void stream(float* to, Doubles value) {
  _mm256_stream_ps(to, bits_as<__m256>(floats(value)));
}
inline void stream(double* to, Doubles value) { _mm512_stream_pd(to, bits_as<__m512d>(value)); }
inline void stream(Half* to, Doubles value) {
  alignas(16) Half narrowed[kLanes];
  store_lanes(narrowed, value);
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), load_as<__m128i>(narrowed));
}
inline void stream(BFloat16* to, Doubles value) {
  alignas(16) BFloat16 narrowed[kLanes];
  store_lanes(narrowed, value);
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), load_as<__m128i>(narrowed));
}
#elif defined(__AVX__)
inline void stream(float* to, Doubles value) { _mm_stream_ps(to, bits_as<__m128>(floats(value))); }
inline void stream(double* to, Doubles value) { _mm256_stream_pd(to, bits_as<__m256d>(value)); }
#endif

// By subtraction: adding to zeros would turn -0.0 into 0.0.
inline Doubles splat(double value) { return value - Doubles{}; }

// A register of floats, for sums of halves.
constexpr int kWideLanes = 2 * kLanes;
typedef float WideFloats __attribute__((vector_size(kWideLanes * 4)));
typedef std::uint32_t WideWords __attribute__((vector_size(kWideLanes * 4)));
typedef std::uint16_t WideShorts __attribute__((vector_size(kWideLanes * 2)));

inline WideFloats splat(float value) { return value - WideFloats{}; }
inline WideFloats load_wide(const float* from) { return load_as<WideFloats>(from); }
inline WideFloats load_wide(const BFloat16* from) {
  const auto words = __builtin_convertvector(load_as<WideShorts>(from), WideWords) << 16;
  return bits_as<WideFloats>(words);
}
inline WideFloats load_wide(const Half* from) {
#if defined(__AVX512F__)
  // By the masked forms: GCC 12 warns of its own in the others.
  return bits_as<WideFloats>(_mm512_maskz_cvtph_ps(0xffff, load_as<__m256i>(from)));
#elif defined(__F16C__)
  return bits_as<WideFloats>(_mm256_cvtph_ps(load_as<__m128i>(from)));
#else
  WideFloats value;
  for (int i = 0; i < kWideLanes; ++i) value[i] = widen(from[i]);
  return value;
#endif
}

inline void store_lanes(float* to, WideFloats value) { std::memcpy(to, &value, sizeof value); }
inline WideShorts narrowed(WideFloats value, BFloat16*) {
  const WideWords all = bits_as<WideWords>(value);
  const WideWords rounded = (all + 0x7fffu + ((all >> 16) & 1u)) >> 16;
  return __builtin_convertvector(value != value ? WideWords{} + 0x7fc0u : rounded, WideShorts);
}
inline WideShorts narrowed(WideFloats value, Half*) {
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
  WideShorts result;
  for (int i = 0; i < kWideLanes; ++i) {
    Half lane;
    narrow(value[i], lane);
    result[i] = lane.bits;
  }
  return result;
#endif
}
template <class T>
inline void store_lanes(T* to, WideFloats value) {
  const WideShorts lanes = narrowed(value, to);
  std::memcpy(to, &lanes, sizeof lanes);
}
template <class T>
inline void stream(T* to, WideFloats value) {
#if defined(__AVX512F__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), bits_as<__m256i>(narrowed(value, to)));
#elif defined(__AVX__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), bits_as<__m128i>(narrowed(value, to)));
#else
  store_lanes(to, value);
#endif
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
