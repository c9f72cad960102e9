// Eight doubles, whatever the machine, for kernels whose lanes are added up in the end: every
// instruction set adds in the same order.
#pragma once

#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

constexpr std::int64_t kOctet = 8;
constexpr int kParts = static_cast<int>(kOctet / kLanes);

constexpr long long kPlaces[kOctet] = {0, 1, 2, 3, 4, 5, 6, 7};

struct Octet {
  Doubles part[kParts];

  [[gnu::always_inline]] Octet& operator+=(const Octet& other) {
    unrolled<kParts>([&](auto k) { part[k] += other.part[k]; });
    return *this;
  }
  [[gnu::always_inline]] Octet& operator-=(const Octet& other) {
    unrolled<kParts>([&](auto k) { part[k] -= other.part[k]; });
    return *this;
  }
  [[gnu::always_inline]] Octet& operator*=(const Octet& other) {
    unrolled<kParts>([&](auto k) { part[k] *= other.part[k]; });
    return *this;
  }
};

TOKFRAG_INLINE void load_octet(const double* from, Octet& octet) {
  unrolled<kParts>([&](auto k) { octet.part[k] = load(from + k * kLanes); });
}

TOKFRAG_INLINE void store_octet(const Octet& octet, double* to) {
  unrolled<kParts>([&](auto k) { store(to + k * kLanes, octet.part[k]); });
}

// Zero from place `count` on, whatever is there.
TOKFRAG_INLINE void keep_first(Octet& octet, std::int64_t count) {
  unrolled<kParts>([&](auto k) {
    Longs place;
    std::memcpy(&place, kPlaces + k * kLanes, sizeof place);
    const Doubles zero = {};
    octet.part[k] = place < static_cast<long long>(count) ? octet.part[k] : zero;
  });
}

TOKFRAG_INLINE double total_of(const Octet& octet) {
#if defined(__AVX512F__)
  const Doubles& all = octet.part[0];
  const auto half =
      __builtin_shufflevector(all, all, 0, 1, 2, 3) + __builtin_shufflevector(all, all, 4, 5, 6, 7);
  return (half[0] + half[2]) + (half[1] + half[3]);
#elif defined(__AVX__)
  const Doubles half = octet.part[0] + octet.part[1];
  return (half[0] + half[2]) + (half[1] + half[3]);
#else
  const Doubles half = (octet.part[0] + octet.part[2]) + (octet.part[1] + octet.part[3]);
  return half[0] + half[1];
#endif
}

// totals[k] = total_of(octets[k]), by the same additions.
template <int kCount>
TOKFRAG_INLINE void totals_of(const Octet (&octets)[kCount], double* totals) {
#if defined(__AVX512F__)
  if constexpr (kCount == kOctet) {
    Doubles halves[4];
    unrolled<4>([&](auto k) {
      const Doubles& a = octets[2 * k].part[0];
      const Doubles& b = octets[2 * k + 1].part[0];
      halves[k] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
                  __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    });
    Doubles quarters[2];
    unrolled<2>([&](auto k) {
      const Doubles& a = halves[2 * k];
      const Doubles& b = halves[2 * k + 1];
      quarters[k] = __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13) +
                    __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15);
    });
    const Doubles& a = quarters[0];
    const Doubles& b = quarters[1];
    const Doubles all = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14) +
                        __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
    store(totals, all);
    return;
  }
#endif
  unrolled<kCount>([&](auto k) { totals[k] = total_of(octets[k]); });
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
