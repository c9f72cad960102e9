// Blocks side by side, a block a lane, and what one pass over their values finds.
#pragma once

#include "core/simd.hpp"
#include "fragments/features/blocks.hpp"
#include "fragments/features/steps.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

constexpr int kTile = 8;  // steps that are added up before they join a sum
// A lane of floats adds this many steps before its sum goes on in double.
constexpr std::int64_t kSpan = 16;

template <class T>
constexpr int kWideOf = kVectorBytes / static_cast<int>(sizeof(T));

// Sums of lanes of T, a span at a time.
template <class T>
struct LaneTotal {
  static constexpr int kParts = kWideOf<T> / kLanes;
  Doubles part[kParts] = {};

  TOKFRAG_INLINE void add(const LanesOf<T>& lanes) {
    unrolled<kParts>([&](auto k) { part[k] += part_of<k>(lanes); });
  }
};

template <class T>
TOKFRAG_INLINE LanesOf<T> splat_of(std::int64_t step) {
  return static_cast<T>(step) - LanesOf<T>{};
}

// kAdjoining: the blocks are all of one length, and each begins where the one before it ends.
template <class T, bool kAdjoining>
struct BlockGroup {
  using V = LanesOf<T>;
  using Total = LaneTotal<T>;
  static constexpr int kWide = kWideOf<T>;
  static constexpr int kAhead = 2;  // groups of blocks that are asked for ahead

  V* values;            // of a step; then deviations, if lags want them
  std::int64_t number;  // of the first block
  const T* first;       // where it begins
  const T* at[kWide];   // where each begins, unless they adjoin
  V lengths;
  std::int64_t shortest;
  std::int64_t longest;
  std::uintptr_t ahead;  // the blocks that will be summed after the next ones
  V pivot;
  V least;
  V greatest;
  V last;  // values
  Total steps;

  TOKFRAG_INLINE auto begins() const {
    if constexpr (kAdjoining) {
      return [from = first, length = shortest](int k) { return from + k * length; };
    } else {
      return [this](int k) { return at[k]; };
    }
  }

  // The blocks from `from` on become the lanes; lanes that are left repeat the last one.
  void take(const BlockTask& task, std::int64_t from) {
    const T* row = static_cast<const T*>(task.row);
    const std::int64_t most = task.count - 1;
    number = from;
    first = row + task.begins[from];
    // Blocks may adjoin those of the next row, too.
    const std::int64_t later = from + kAhead * kWide;
    ahead = kAdjoining
                ? reinterpret_cast<std::uintptr_t>(first) +
                      static_cast<std::uintptr_t>(kAhead * kWide * task.even) * sizeof(T)
                : reinterpret_cast<std::uintptr_t>(row + task.begins[later < most ? later : 0]);
    if (task.even > 0) {
      shortest = longest = task.even;
      lengths = splat_of<T>(task.even);
    }
    if constexpr (kAdjoining) return;
    const auto own = [&](int k) { return from + k < most ? from + k : most; };
    for (int k = 0; k < kWide; ++k) at[k] = row + task.begins[own(k)];
    if (task.even > 0) return;
    shortest = kBlockMost;
    longest = 0;
    T each[kWide];
    for (int k = 0; k < kWide; ++k) {
      const std::int64_t length = task.lengths[own(k)];
      shortest = length < shortest ? length : shortest;
      longest = length > longest ? length : longest;
      each[k] = static_cast<T>(length);
    }
    lengths = load_as<V>(each);
  }

  // Values, their extremes, squared steps, and a pivot near the mean.
  void read(std::int64_t reach, bool whole) {
    V previous = {};
    V low[2] = {};
    V high[2] = {};
    V sum = {};
    V span = {};
    Total all_steps;
    std::int64_t t = 0;
    const auto place = begins();
    const auto begin_at = [&](const V& value) __attribute__((always_inline)) {
      if (t == 0) previous = low[0] = low[1] = high[0] = high[1] = value;
    };
    const auto flush = [&]() __attribute__((always_inline)) {
      t += kTile;
      if (t % kSpan != 0) return;
      all_steps.add(span);
      span = V{};
    };
    for (; t + kTile <= shortest; flush()) {
      V sums[2] = {};
      V squares[2] = {};
      unrolled<kTile / kAtOnce<T>>([&](auto part) {
        V y[kAtOnce<T>];
        load_steps(place, t + part * kAtOnce<T>, y);
        if constexpr (part == 0) begin_at(y[0]);
        unrolled<kAtOnce<T>>([&](auto i) {
          constexpr int turn = i % 2;
          constexpr bool is_new = part == 0 && i < 2;
          const V& value = y[i];
          values[t + part * kAtOnce<T> + i] = value;
          previous -= value;
          previous *= previous;
          if constexpr (is_new) {
            sums[turn] = value;
            squares[turn] = previous;
          } else {
            sums[turn] += value;
            squares[turn] += previous;
          }
          low[turn] = smaller(value, low[turn]);
          high[turn] = greater(value, high[turn]);
          previous = value;
        });
      });
      fetch_ahead(t);
      sum += sums[0] + sums[1];
      span += squares[0] + squares[1];
    }
    // Where some lanes have ended: a value that is not there is the one before it. What a lane adds
    // up, and in which order, does not hang on how long the others are.
    for (; t < longest; flush()) {
      V y[kTile];
      load_tile(t, reach, y);
      begin_at(y[0]);
      const auto begun = splat_of<T>(t) < lengths;
      V sums[2] = {};
      V squares[2] = {};
      for (int i = 0; i < kTile; ++i) {
        const auto there = splat_of<T>(t + i) < lengths;
        const V value = there ? y[i] : previous;
        const V step = previous - value;
        values[t + i] = value;
        const V known = there ? value : V{};
        sums[i % 2] = i < 2 ? known : sums[i % 2] + known;
        squares[i % 2] += step * step;
        low[i % 2] = smaller(value, low[i % 2]);
        high[i % 2] = greater(value, high[i % 2]);
        previous = value;
      }
      sum = begun ? sum + (sums[0] + sums[1]) : sum;
      span += squares[0] + squares[1];
    }
    all_steps.add(span);
    steps = all_steps;
    least = smaller(low[1], low[0]);
    greatest = greater(high[1], high[0]);
    last = previous;
    sum /= lengths;
    sum = sum < least ? least : sum;
    pivot = sum > greatest ? greatest : sum;
    if (whole) {
      // To the nearest whole number: then deviations are, and small sums of them are exact.
      constexpr T kRounding = 12582912;  // 1.5 * 2^23: a float has no bits for fractions there
      pivot += kRounding;
      pivot -= kRounding;
    }
  }

 private:
  // Steps from `t` on. A lane that has ended reads some other values.
  TOKFRAG_INLINE void load_tile(std::int64_t t, std::int64_t reach, V* to) const {
    const T* from[kWide];
    for (int k = 0; k < kWide; ++k) {
      const std::int64_t most = static_cast<std::int64_t>(lengths[k]) + reach;
      from[k] = begins()(k) + (t < most ? t : most);
    }
    const auto place = [&](int k) { return from[k]; };
    unrolled<kTile / kAtOnce<T>>(
        [&](auto part) { load_steps(place, part * kAtOnce<T>, to + part * kAtOnce<T>); });
  }

  // Asks for as many bytes of the next blocks as a tile has.
  TOKFRAG_INLINE void fetch_ahead(std::int64_t t) const {
    constexpr int kLine = 64;
    const std::uintptr_t from = ahead + static_cast<std::uintptr_t>(t * kVectorBytes);
    unrolled<kTile * kVectorBytes / kLine>(
        [&](auto line) { __builtin_prefetch(reinterpret_cast<const void*>(from + line * kLine)); });
  }
};

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
