// Medians and votes on a GPU: what one thread does. Plans are those of device.hpp.
//
// A thread makes a unit of the output. The numbers of all windows over it are put one after the
// other into a short ascending list in registers; where there are more of them, each number of the
// unit is done again with a long list in local memory.
#pragma once

#include <cstdint>
#include <limits>

#include "fragments/merge/device.hpp"
#include "fragments/merge/plain_device.hpp"

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

// The numbers of the windows over a unit, one after the other, with any windows.
template <class T, int kNumbers, int kOuter, class Number>
class AnyTaps {
 public:
  using Index = Number;
  using Plan = DeviceMergePlan<Index, AccumulatorOf<T>>;

  explicit TOKFRAG_HOST_DEVICE AnyTaps(const Plan& plan) : plan_(plan) {}

  // False if there are none, and the unit is filled.
  TOKFRAG_HOST_DEVICE bool begin(Index unit, char* out) {
    return begin_unit<T, kNumbers>(plan_, unit, out, outer_, last_);
  }
  TOKFRAG_HOST_DEVICE std::int64_t offset() const {
    return outer_.place().offset +
           static_cast<std::int64_t>(last_.window) * plan_.last.window_stride +
           static_cast<std::int64_t>(last_.tap) * plan_.last.tap_stride;
  }
  TOKFRAG_HOST_DEVICE bool next() { return outer_.next(plan_) || last_.next(plan_.last.taps); }
  // After the last: the outer axes are at their first taps again.
  TOKFRAG_HOST_DEVICE void rewind() { last_.rewind(plan_.last.taps); }

 private:
  const Plan& plan_;
  OuterCursor<kOuter, Index, AccumulatorOf<T>> outer_;
  TapCursor<Index> last_;
};

// The same where no window is dilated.
template <class T, int kNumbers>
class PlainOrderTaps {
 public:
  using Index = std::uint32_t;
  using Plan = DeviceMergePlan<Index, AccumulatorOf<T>>;

  explicit TOKFRAG_HOST_DEVICE PlainOrderTaps(const Plan& plan) : plan_(plan) {}

  TOKFRAG_HOST_DEVICE bool begin(Index unit, char* out) {
    const bool covered = cursor_.begin(plan_, unit, static_cast<Index>(plain_offset(plan_, unit)),
                                       last_position<kNumbers>(plan_, unit));
    if (!covered) fill_unit<kNumbers* static_cast<int>(sizeof(T))>(plan_, out);
    left_ = covered ? cursor_.taps() : Index(0);
    return covered;
  }
  TOKFRAG_HOST_DEVICE std::int64_t offset() const {
    return static_cast<std::int64_t>(cursor_.offset(plan_));
  }
  TOKFRAG_HOST_DEVICE bool next() {
    cursor_.next();
    return --left_ > 0;
  }
  TOKFRAG_HOST_DEVICE void rewind() {
    cursor_.rewind();
    left_ = cursor_.taps();
  }

 private:
  const Plan& plan_;
  PlainCursor<2, Index, AccumulatorOf<T>> cursor_;
  Index left_;
};

// The whole thread: the output's unit of number `unit`. At most kMostOrdered windows lie over it.
template <class T, int kNumbers, class Taps>
TOKFRAG_HOST_DEVICE inline void order_unit(const typename Taps::Plan& plan,
                                           typename Taps::Index unit) {
  using Number = OrderedNumber<T>;
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(T));
  char* out = plan.out + static_cast<std::int64_t>(unit) * kBytes;
  Taps taps(plan);
  if (!taps.begin(unit, out)) return;

  const auto load_tap = [&](T* numbers) {
    const auto loaded =
        load_unit<kBytes>(plan.fragments + taps.offset() * static_cast<std::int64_t>(sizeof(T)));
    std::memcpy(numbers, &loaded, kBytes);
  };

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
  } while (taps.next());

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
      taps.rewind();
      do {
        T numbers[kNumbers];
        load_tap(numbers);
        if (held < kMost) insert_long(many, held++, ordered_number(numbers[i]));
      } while (taps.next());
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

// A kernel: its plan, and what the thread of number `unit` does.
template <class T, int kCount, class Taps>
struct Order {
  using Plan = typename Taps::Plan;
  using Index = typename Taps::Index;
  using Accumulator = AccumulatorOf<T>;
  static constexpr int kNumbers = kCount;
  TOKFRAG_HOST_DEVICE static void run(const Plan& plan, Index unit) {
    order_unit<T, kNumbers, Taps>(plan, unit);
  }
};

template <class Order, class Call>
typename Order::Plan make_order_plan(const Call& call) {
  return make_merge_plan<typename Order::Index, typename Order::Accumulator>(
      call.layout, call.grid, call.window, call.dtype, Order::kNumbers, call.fragments, call.out,
      call.fill);
}

// Calls run(call, kernel) with the kernel for numbers of type T.
template <class T, class Call, class Run>
void choose_order(const Call& call, const Run& run) {
  constexpr int kWide = kOrderWide<T>;
  const bool plain = merge_outer_axes(call.layout, call.window) <= 2 &&
                     merge_is_narrow(call.layout) && merge_is_plain(call.layout, call.window);
  if (!plain) return run(call, Order<T, 1, AnyTaps<T, 1, kMaxAxes, std::uint64_t>>{});
  const int numbers = merge_numbers(call.layout, call.window, call.fragments, call.out, kWide);
  if (numbers == kWide) return run(call, Order<T, kWide, PlainOrderTaps<T, kWide>>{});
  run(call, Order<T, 1, PlainOrderTaps<T, 1>>{});
}

}  // namespace tokfrag
