// As many doubles as a register holds, for kernels: included by files compiled once an instruction
// set. What lies in one lane never meets another, so that the bits do not depend on their number.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

#if defined(__AVX512F__)
constexpr std::int64_t kLanes = 8;
#elif defined(__AVX2__)
constexpr std::int64_t kLanes = 4;
#else
constexpr std::int64_t kLanes = 2;
#endif
using Lanes = double __attribute__((vector_size(kLanes * sizeof(double))));
using Mask = long long __attribute__((vector_size(kLanes * sizeof(double))));
using FloatLanes = float __attribute__((vector_size(kLanes * sizeof(float))));

inline void load_lanes(const double* from, Lanes& lanes) {
  std::memcpy(&lanes, from, sizeof lanes);
}

inline void store_lanes(const Lanes& lanes, double* to) { std::memcpy(to, &lanes, sizeof lanes); }

inline void narrow_lanes(const Lanes& from, FloatLanes& to) {
#ifdef __AVX512F__
  to = _mm512_maskz_cvtpd_ps(0xff, from);  // gcc 12 makes two of __builtin_convertvector
#else
  to = __builtin_convertvector(from, FloatLanes);
#endif
}

template <bool kGreatest>
inline double extreme(double best, double value) {
  // A NaN is kept: it is unequal to itself, and no comparison replaces it.
  return value != value || (kGreatest ? value > best : value < best) ? value : best;
}

template <bool kGreatest>
inline void keep_extreme(Lanes& best, const Lanes& value) {
  const Mask better = kGreatest ? value > best : value < best;
  const Mask unordered = value != value;
  best = (better | unordered) != 0 ? value : best;
}

// body(0), ..., body(kCount - 1), with constant arguments: what body keeps stays in registers.
template <class Body, int... k>
[[gnu::always_inline]] inline void unrolled(const Body& body, std::integer_sequence<int, k...>) {
  (body(std::integral_constant<int, k>()), ...);
}

template <int kCount, class Body>
[[gnu::always_inline]] inline void unrolled(const Body& body) {
  unrolled(body, std::make_integer_sequence<int, kCount>());
}

// Rows to columns.
[[gnu::always_inline]] inline void transpose(Lanes (&block)[kLanes]) {
#if defined(__AVX512F__)
  Lanes pairs[kLanes];
  unrolled<4>([&](auto k) {
    const Lanes& a = block[2 * k];
    const Lanes& b = block[2 * k + 1];
    pairs[2 * k] = __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
    pairs[2 * k + 1] = __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  });
  Lanes quads[kLanes];
  unrolled<4>([&](auto k) {
    constexpr int from = k / 2 * 4 + k % 2;
    const Lanes& a = pairs[from];
    const Lanes& b = pairs[from + 2];
    quads[from] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
    quads[from + 2] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
  });
  unrolled<4>([&](auto k) {
    const Lanes& a = quads[k];
    const Lanes& b = quads[k + 4];
    block[k] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
    block[k + 4] = __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
  });
#elif defined(__AVX2__)
  Lanes pairs[kLanes];
  unrolled<2>([&](auto k) {
    const Lanes& a = block[2 * k];
    const Lanes& b = block[2 * k + 1];
    pairs[2 * k] = __builtin_shufflevector(a, b, 0, 4, 2, 6);
    pairs[2 * k + 1] = __builtin_shufflevector(a, b, 1, 5, 3, 7);
  });
  unrolled<2>([&](auto k) {
    const Lanes& a = pairs[k];
    const Lanes& b = pairs[k + 2];
    block[k] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    block[k + 2] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  });
#else
  const Lanes first = __builtin_shufflevector(block[0], block[1], 0, 2);
  block[1] = __builtin_shufflevector(block[0], block[1], 1, 3);
  block[0] = first;
#endif
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
