// A pack: 64 bytes of numbers, whatever the machine, for kernels whose lanes are added up in the
// end: every instruction set adds in the same order.
#pragma once

#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

constexpr int kPackBytes = 64;
constexpr int kParts = kPackBytes / kVectorBytes;
template <class T>
constexpr std::int64_t kPackOf = kPackBytes / static_cast<std::int64_t>(sizeof(T));

template <class T>
using Part = Vector<T, kVectorBytes / static_cast<int>(sizeof(T))>;

// For masks; integers as wide as the numbers.
template <class Word>
constexpr Word kPlaces[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

template <class T>
struct Pack {
  Part<T> part[kParts];

  [[gnu::always_inline]] Pack& operator+=(const Pack& other) {
    unrolled<kParts>([&](auto k) { part[k] += other.part[k]; });
    return *this;
  }
  [[gnu::always_inline]] Pack& operator-=(const Pack& other) {
    unrolled<kParts>([&](auto k) { part[k] -= other.part[k]; });
    return *this;
  }
  [[gnu::always_inline]] Pack& operator*=(const Pack& other) {
    unrolled<kParts>([&](auto k) { part[k] *= other.part[k]; });
    return *this;
  }
};

template <class T>
TOKFRAG_INLINE void load_pack(const T* from, Pack<T>& pack) {
  unrolled<kParts>(
      [&](auto k) { pack.part[k] = load_as<Part<T>>(from + k * (kPackOf<T> / kParts)); });
}

template <class T>
TOKFRAG_INLINE void store_pack(const Pack<T>& pack, T* to) {
  unrolled<kParts>([&](auto k) { store_bytes(to + k * (kPackOf<T> / kParts), pack.part[k]); });
}

template <class T>
TOKFRAG_INLINE Pack<T> pack_of(T value) {
  Pack<T> pack;
  unrolled<kParts>([&](auto k) { pack.part[k] = value - Part<T>{}; });
  return pack;
}

// `pack` in the first `count` places, `rest` in the others.
template <class T>
TOKFRAG_INLINE void replace_rest(Pack<T>& pack, std::int64_t count, const Pack<T>& rest) {
  using Word = std::conditional_t<sizeof(T) == 8, long long, std::int32_t>;
  unrolled<kParts>([&](auto k) {
    const auto place = load_as<Part<Word>>(kPlaces<Word> + k * (kPackOf<T> / kParts));
    pack.part[k] = place < static_cast<Word>(count) ? pack.part[k] : rest.part[k];
  });
}

// Zero from place `count` on, whatever is there.
template <class T>
TOKFRAG_INLINE void keep_first(Pack<T>& pack, std::int64_t count) {
  replace_rest(pack, count, Pack<T>{});
}

// ---- across lanes: place i meets place i + half of them, until four are left

struct Sum {
  template <class V>
  TOKFRAG_INLINE static V of(const V& a, const V& b) {
    return a + b;
  }
};
// No NaN is looked for.
struct Least {
  template <class V>
  TOKFRAG_INLINE static V of(const V& a, const V& b) {
    return smaller(a, b);
  }
};
struct Greatest {
  template <class V>
  TOKFRAG_INLINE static V of(const V& a, const V& b) {
    return greater(a, b);
  }
};

template <class Fold, class V, int... k>
TOKFRAG_INLINE auto folded(const V& all, std::integer_sequence<int, k...>) {
  constexpr int kHalf = static_cast<int>(sizeof...(k));
  return Fold::of(__builtin_shufflevector(all, all, k...),
                  __builtin_shufflevector(all, all, (k + kHalf)...));
}

// Four vectors or fewer as one.
template <class Fold, class T>
TOKFRAG_INLINE Part<T> one_of(const Pack<T>& pack) {
  if constexpr (kParts == 1) {
    return pack.part[0];
  } else if constexpr (kParts == 2) {
    return Fold::of(pack.part[0], pack.part[1]);
  } else {
    return Fold::of(Fold::of(pack.part[0], pack.part[2]), Fold::of(pack.part[1], pack.part[3]));
  }
}

// The last four of a vector, or two that were four.
template <class Fold, class V>
TOKFRAG_INLINE auto last_of(const V& all) {
  constexpr int kCount = static_cast<int>(sizeof(V) / sizeof(all[0]));
  if constexpr (kCount > 4) {
    return last_of<Fold>(folded<Fold>(all, std::make_integer_sequence<int, kCount / 2>()));
  } else {
    return all;
  }
}

// Of floats: the last four are added as doubles.
template <class T>
TOKFRAG_INLINE double total_of(const Pack<T>& pack) {
  const auto last = last_of<Sum>(one_of<Sum>(pack));
  if constexpr (sizeof(last) < 4 * sizeof(T)) {
    return last[0] + last[1];
  } else {
#if defined(__AVX__)
    Vector<double, 4> four;
    if constexpr (std::is_same_v<T, float>) {
      four = _mm256_cvtps_pd(last);
    } else {
      four = last;
    }
    const auto two = folded<Sum>(four, std::make_integer_sequence<int, 2>());
    return two[0] + two[1];
#else
    const auto four = [&](int k) { return static_cast<double>(last[k]); };
    return (four(0) + four(2)) + (four(1) + four(3));
#endif
  }
}

// The fold of all places, in T's own arithmetic.
template <class Fold, class T>
TOKFRAG_INLINE T fold_of(const Pack<T>& pack) {
  const auto last = last_of<Fold>(one_of<Fold>(pack));
  if constexpr (sizeof(last) < 4 * sizeof(T)) {
    return Fold::of(last[0], last[1]);
  } else if constexpr (std::is_same_v<T, float>) {
    const auto two = Fold::of(last, __builtin_shufflevector(last, last, 2, 3, 0, 1));
    return Fold::of(two, __builtin_shufflevector(two, two, 1, 0, 3, 2))[0];
  } else {
    const auto two = folded<Fold>(last, std::make_integer_sequence<int, 2>());
    return Fold::of(two[0], two[1]);
  }
}

// totals[k] = total_of(packs[k]), by the same additions.
template <int kCount>
TOKFRAG_INLINE void totals_of(const Pack<double> (&packs)[kCount], double* totals) {
#if defined(__AVX512F__)
  if constexpr (kCount == kPackOf<double>) {
    Doubles halves[4];
    unrolled<4>([&](auto k) {
      const Doubles& a = packs[2 * k].part[0];
      const Doubles& b = packs[2 * k + 1].part[0];
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
  unrolled<kCount>([&](auto k) { totals[k] = total_of(packs[k]); });
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
