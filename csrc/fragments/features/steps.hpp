// Rows side by side: a few steps of as many rows as a register has lanes, a row a lane.
#pragma once

#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

template <class T>
using LanesOf = Vector<T, kVectorBytes / static_cast<int>(sizeof(T))>;

// ---- from rows to steps: lane k of `steps[i]` is at(k)[t + i]

// In every 128 bits, of a and b: their lower or upper two words, in turns; or halves.
template <int kUpper, class V, int... k>
TOKFRAG_INLINE V words_in_turns(const V& a, const V& b, std::integer_sequence<int, k...>) {
  constexpr int kCount = static_cast<int>(sizeof...(k));
  return __builtin_shufflevector(a, b, (k / 4 * 4 + k % 4 / 2 + 2 * kUpper + k % 2 * kCount)...);
}
template <int kUpper, class V, int... k>
TOKFRAG_INLINE V halves_in_turns(const V& a, const V& b, std::integer_sequence<int, k...>) {
  constexpr int kCount = static_cast<int>(sizeof...(k));
  return __builtin_shufflevector(a, b, (k / 4 * 4 + k % 2 + 2 * kUpper + k % 4 / 2 * kCount)...);
}

// How many steps are loaded at once.
template <class T>
constexpr int kAtOnce = kVectorBytes == 64 ? 8 : 4;

// In every 128 bits of four registers: what were rows become columns.
TOKFRAG_INLINE void turn_quarters(WideFloats* four) {
  constexpr auto kAll = std::make_integer_sequence<int, kWideLanes>();
  const WideFloats low = words_in_turns<0>(four[0], four[1], kAll);
  const WideFloats low_on = words_in_turns<0>(four[2], four[3], kAll);
  const WideFloats high = words_in_turns<1>(four[0], four[1], kAll);
  const WideFloats high_on = words_in_turns<1>(four[2], four[3], kAll);
  four[0] = halves_in_turns<0>(low, low_on, kAll);
  four[1] = halves_in_turns<1>(low, low_on, kAll);
  four[2] = halves_in_turns<0>(high, high_on, kAll);
  four[3] = halves_in_turns<1>(high, high_on, kAll);
}

template <class At>
TOKFRAG_INLINE void load_steps(const At& at, std::int64_t t, WideFloats* steps) {
#if defined(__AVX512F__)
  // Eight values of two lanes a register.
  WideFloats two[8];
  unrolled<8>([&](auto k) {
    constexpr int kLane = k % 4 + k / 4 * 8;
    const __m512 first = _mm512_castps256_ps512(_mm256_loadu_ps(at(kLane) + t));
    const __m256 second = _mm256_loadu_ps(at(kLane + 4) + t);
    two[k] = _mm512_maskz_insertf32x8(0xffff, first, second, 1);
  });
  turn_quarters(two);
  turn_quarters(two + 4);
  unrolled<4>([&](auto k) {
    steps[k] = _mm512_maskz_shuffle_f32x4(0xffff, two[k], two[k + 4], 0x88);
    steps[k + 4] = _mm512_maskz_shuffle_f32x4(0xffff, two[k], two[k + 4], 0xdd);
  });
#else
  unrolled<4>([&](auto k) {
#if defined(__AVX__)
    const __m256 first = _mm256_castps128_ps256(_mm_loadu_ps(at(k) + t));
    steps[k] = _mm256_insertf128_ps(first, _mm_loadu_ps(at(k + 4) + t), 1);
#else
    steps[k] = load_as<WideFloats>(at(k) + t);
#endif
  });
  turn_quarters(steps);
#endif
}

template <class At>
TOKFRAG_INLINE void load_steps(const At& at, std::int64_t t, Doubles* steps) {
  unrolled<kAtOnce<double> / kLanes>([&](auto part) {
    Doubles square[kLanes];
    unrolled<kLanes>([&](auto k) { square[k] = load(at(k) + t + part * kLanes); });
    transpose(square);
    unrolled<kLanes>([&](auto k) { steps[part * kLanes + k] = square[k]; });
  });
}

// Lane k + 1 in lane k; `next` in the last one.
template <class V, class T, int... k>
TOKFRAG_INLINE V moved_down(const V& lanes, T next, std::integer_sequence<int, k...>) {
  const V after = {next};
  return __builtin_shufflevector(lanes, after, (k + 1)...);
}

// ---- lanes as doubles

// Part kPart of the lanes.
template <int kPart>
TOKFRAG_INLINE Doubles part_of(const Doubles& lanes) {
  static_assert(kPart == 0, "there are no more");
  return lanes;
}
template <int kPart>
TOKFRAG_INLINE Doubles part_of(const WideFloats& lanes) {
  static_assert(kPart < 2, "there are no more");
#if defined(__AVX512F__)
  if constexpr (kPart == 0) {
    return doubles(__builtin_shufflevector(lanes, lanes, 0, 1, 2, 3, 4, 5, 6, 7));
  } else {
    return doubles(bits_as<Floats>(_mm512_maskz_extractf32x8_ps(0xff, lanes, 1)));
  }
#elif defined(__AVX__)
  return _mm256_cvtps_pd(_mm256_extractf128_ps(lanes, kPart));
#else
  return Doubles{static_cast<double>(lanes[2 * kPart]), static_cast<double>(lanes[2 * kPart + 1])};
#endif
}

// Whether any lane of a mask is set.
TOKFRAG_INLINE bool any_of(const Longs& mask) {
#if defined(__AVX512F__)
  return _mm512_movepi64_mask(bits_as<__m512i>(mask)) != 0;
#elif defined(__AVX__)
  return _mm256_movemask_pd(bits_as<__m256d>(mask)) != 0;
#else
  long long any = 0;
  for (int k = 0; k < kLanes; ++k) any |= mask[k];
  return any != 0;
#endif
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
