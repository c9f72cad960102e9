// Medians and votes on a GPU: what one thread does. Plans are those of device.hpp.
//
// A thread makes a unit of the output. The numbers of all windows over it are put one after the
// other into a short ascending list in registers; where there are more of them, each number of the
// unit is done again with a long list in local memory.
#pragma once

#include <cstdint>
#include <limits>

#include "fragments/merge/device.hpp"

namespace tokfrag {

// Of windows that overlap by half, eight lie over a position of three axes.
constexpr int kOrderedInRegisters = 8;

// Numbers of a wide unit: each has a list of its own.
template <class T>
constexpr int kOrderWide = sizeof(T) == 8 ? 2 : 4;

// What numbers are compared as.
template <class T>
using OrderedNumber = std::conditional_t<kIsHalf<T>, float, T>;

template <class T>
TOKFRAG_HOST_DEVICE inline OrderedNumber<T> ordered_number(T number) {
  if constexpr (kIsHalf<T>) {
    return value_of(number);
  } else {
    return number;
  }
}

// Nothing comes behind it.
template <class Number>
TOKFRAG_HOST_DEVICE constexpr Number last_of_all() {
  if constexpr (std::numeric_limits<Number>::has_infinity) {
    return std::numeric_limits<Number>::infinity();
  } else {
    return std::numeric_limits<Number>::max();
  }
}

// Into its place among `length` ascending ones, of which the last is lost. NaN is lost itself.
template <int kLength, class Number>
TOKFRAG_HOST_DEVICE inline void insert_short(Number* sorted, Number number) {
  TOKFRAG_UNROLL
  for (int i = 0; i < kLength; ++i) {
    const bool before = number < sorted[i];
    const Number behind = before ? sorted[i] : number;
    sorted[i] = before ? number : sorted[i];
    number = behind;
  }
}

template <class Number>
TOKFRAG_HOST_DEVICE inline void insert_long(Number* sorted, int count, Number number) {
  int at = count;
  TOKFRAG_NO_UNROLL
  for (; at > 0 && number < sorted[at - 1]; --at) sorted[at] = sorted[at - 1];
  sorted[at] = number;
}

// The mean of the middle two.
template <class T>
TOKFRAG_HOST_DEVICE inline T middle_of(OrderedNumber<T> low, OrderedNumber<T> high) {
  const auto below = static_cast<double>(low);
  const auto above = static_cast<double>(high);
  const double middle = below == above ? below : below / 2 + above / 2;
  return number_of<T>(static_cast<AccumulatorOf<T>>(middle));
}

// The result for `count` ascending numbers. Loops go to kLength, so that short lists need no
// addresses.
template <class T, int kLength>
TOKFRAG_HOST_DEVICE inline T pick_ordered(const OrderedNumber<T>* sorted, int count, bool vote,
                                          bool spoiled) {
  using Number = OrderedNumber<T>;
  constexpr int kUnrolled = kLength <= kOrderedInRegisters ? kLength : 1;
  if constexpr (std::is_integral_v<T>) {
    if (vote || !kIsSummed<T>) {
      Number best = sorted[0];
      int run = 0;  // of equal numbers so far, less one
      int most = 0;
      if constexpr (kUnrolled > 1) {
        TOKFRAG_UNROLL
        for (int i = 1; i < kLength; ++i) {
          run = i < count && sorted[i] == sorted[i - 1] ? run + 1 : 0;
          best = run > most ? sorted[i] : best;
          most = run > most ? run : most;
        }
      } else {
        TOKFRAG_NO_UNROLL
        for (int i = 1; i < count; ++i) {
          run = sorted[i] == sorted[i - 1] ? run + 1 : 0;
          best = run > most ? sorted[i] : best;
          most = run > most ? run : most;
        }
      }
      return best;
    }
  } else if (spoiled) {
    return number_of<T>(std::numeric_limits<AccumulatorOf<T>>::quiet_NaN());
  }
  if constexpr (kIsSummed<T>) {
    Number low = sorted[0];
    Number high = sorted[0];
    if constexpr (kUnrolled > 1) {
      TOKFRAG_UNROLL
      for (int i = 1; i < kLength; ++i) {
        low = i == (count - 1) / 2 ? sorted[i] : low;
        high = i == count / 2 ? sorted[i] : high;
      }
    } else {
      low = sorted[(count - 1) / 2];
      high = sorted[count / 2];
    }
    return middle_of<T>(low, high);
  } else {
    return sorted[0];
  }
}

// The whole thread: the output's unit of number `unit`. At most kMostOrdered windows lie over it.
template <class T, int kNumbers, int kOuter, class Index>
TOKFRAG_HOST_DEVICE inline void order_unit(const DeviceMergePlan<Index, AccumulatorOf<T>>& plan,
                                           Index unit) {
  using Number = OrderedNumber<T>;
  using Accumulator = AccumulatorOf<T>;
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(T));
  char* out = plan.out + static_cast<std::int64_t>(unit) * kBytes;
  const std::int64_t offset = plain_offset(plan, unit);
  const Index position = last_position<kNumbers>(plan, unit);
  TapCursor<Index> last;
  OuterCursor<kOuter, Index, Accumulator> outer;
  if (!outer.begin(plan, unit, offset) || !last.begin(plan.last.taps, position)) {
    Unit<kBytes> fill;
    std::memcpy(&fill, &plan.fill, kBytes);
    stream_unit<kBytes>(out, fill);
    return;
  }

  const auto load_tap = [&](T* numbers) {
    const std::int64_t at = outer.place().offset +
                            static_cast<std::int64_t>(last.window) * plan.last.window_stride +
                            static_cast<std::int64_t>(last.tap) * plan.last.tap_stride;
    const auto loaded =
        load_unit<kBytes>(plan.fragments + at * static_cast<std::int64_t>(sizeof(T)));
    std::memcpy(numbers, &loaded, kBytes);
  };
  const auto next_tap = [&] { return outer.next(plan) || last.next(plan.last.taps); };

  Number sorted[kNumbers][kOrderedInRegisters];
  bool spoiled[kNumbers];
  TOKFRAG_UNROLL
  for (int i = 0; i < kNumbers; ++i) {
    spoiled[i] = false;
    TOKFRAG_UNROLL
    for (int k = 0; k < kOrderedInRegisters; ++k) sorted[i][k] = last_of_all<Number>();
  }
  int count = 0;
  do {
    T numbers[kNumbers];
    load_tap(numbers);
    ++count;
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) {
      const Number number = ordered_number(numbers[i]);
      if constexpr (!std::is_integral_v<T>) spoiled[i] = spoiled[i] || number != number;
      insert_short<kOrderedInRegisters>(sorted[i], number);
    }
  } while (next_tap());

  T result[kNumbers];
  TOKFRAG_UNROLL
  for (int i = 0; i < kNumbers; ++i) {
    result[i] = pick_ordered<T, kOrderedInRegisters>(sorted[i], count, plan.vote, spoiled[i]);
  }
  if (count > kOrderedInRegisters) {
    constexpr int kMost = static_cast<int>(kMostOrdered);
    TOKFRAG_NO_UNROLL
    for (int i = 0; i < kNumbers; ++i) {
      Number many[kMost];
      int held = 0;
      last.rewind(plan.last.taps);  // the outer axes are at their first taps again
      do {
        T numbers[kNumbers];
        load_tap(numbers);
        if (held < kMost) insert_long(many, held++, ordered_number(numbers[i]));
      } while (next_tap());
      bool no_number = false;
      TOKFRAG_UNROLL
      for (int k = 0; k < kNumbers; ++k) no_number = k == i ? spoiled[k] : no_number;
      const T picked = pick_ordered<T, kMost>(many, held, plan.vote, no_number);
      TOKFRAG_UNROLL
      for (int k = 0; k < kNumbers; ++k) result[k] = k == i ? picked : result[k];
    }
  }
  Unit<kBytes> made;
  std::memcpy(&made, result, kBytes);
  stream_unit<kBytes>(out, made);
}

}  // namespace tokfrag
