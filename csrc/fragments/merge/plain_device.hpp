// merge on a GPU where no window is dilated and none holds a copy of a position, which is nearly
// every merge: what one thread does. Plans, and the order of sums, are those of device.hpp.
//
// The windows over a position are then all from a first to a last one, so that a thread knows at
// once how many numbers it adds up, and reads several of them before it adds the first.
#pragma once

#include <cstdint>

#include "core/device/pair.hpp"
#include "fragments/merge/device.hpp"

namespace tokfrag {

// Loads in flight: what 80 registers allow.
template <int kNumbers, int kOuter, class Accumulator>
constexpr int kTapsAhead =
    kNumbers == 1 || std::is_same_v<Accumulator, Pair> || (kNumbers <= 4 && kOuter <= 1) ? 4 : 2;

// The numbers that Pair adds up are scaled, if need be, into where it is precise.
constexpr float kLeastPaired = 0x1p-50F;
constexpr float kPairsUp = 0x1p+90F;
constexpr float kPairsDown = 0x1p-60F;

// The windows over a position of one axis: [first, end).
template <class Index>
struct PlainTaps {
  Index position;
  Index first;
  Index end;

  // False if there are none.
  TOKFRAG_HOST_DEVICE bool begin(const TapAxis<Index>& axis, Index at) {
    position = at;
    end = at >= axis.last_start ? axis.count : axis.stride.quotient(at) + 1;
    first = at < axis.extent ? Index(0) : axis.stride.quotient(at - axis.extent) + 1;
    // The last window may have been moved back to where fewer regular ones would begin.
    if (first >= end && end > 0) first = end - 1;
    return first < end && at - window_start(axis, first) < axis.extent;
  }
};

template <class Accumulator>
TOKFRAG_HOST_DEVICE inline Accumulator one_of() {
  if constexpr (std::is_same_v<Accumulator, Pair>) {
    return {1, 0};
  } else {
    return 1;
  }
}

// Steps through the windows over a unit: those of the innermost axis slowest, row-major else. All
// places are counted in numbers, by Index.
template <int kOuter, class Index, class Accumulator>
class PlainCursor {
 public:
  using Plan = DeviceMergePlan<Index, Accumulator>;

  // False if some axis has no window over the unit.
  TOKFRAG_HOST_DEVICE bool begin(const Plan& plan, Index unit, Index offset, Index position) {
    bool covered = last_.begin(plan.last.taps, position);
    base_ = offset + position * static_cast<Index>(plan.last.tap_stride);
    outer_taps_ = 1;
    TOKFRAG_UNROLL
    for (int axis = 0; axis < kOuter; ++axis) {
      outer_[axis] = {0, 0, 1};
      if (axis >= plan.outer) continue;
      const WindowedAxis<Index, Accumulator>& at = plan.outers[axis];
      Index rest = at.below.quotient(unit);
      covered = outer_[axis].begin(at.taps, take_digit(rest, at.length)) && covered;
      outer_taps_ *= outer_[axis].end - outer_[axis].first;
      base_ += outer_[axis].position * static_cast<Index>(at.tap_stride);
      if (at.inverse != nullptr) inverse_[axis] = at.inverse[at.entry(outer_[axis].position)];
    }
    rewind();
    return covered;
  }

  TOKFRAG_HOST_DEVICE void rewind() {
    last_at_ = last_.first;
    TOKFRAG_UNROLL
    for (int axis = 0; axis < kOuter; ++axis) at_[axis] = outer_[axis].first;
  }

  // Where the number of the current window lies.
  TOKFRAG_HOST_DEVICE Index offset(const Plan& plan) const {
    Index offset = base_ + shift(plan.last, last_at_);
    TOKFRAG_UNROLL
    for (int axis = 0; axis < kOuter; ++axis) {
      if (axis < plan.outer) offset += shift(plan.outers[axis], at_[axis]);
    }
    return offset;
  }

  // Its weight over the outer axes.
  TOKFRAG_HOST_DEVICE Accumulator weight(const Plan& plan) const {
    Accumulator product = one_of<Accumulator>();
    TOKFRAG_UNROLL
    for (int axis = 0; axis < kOuter; ++axis) {
      if (axis >= plan.outer) continue;
      const WindowedAxis<Index, Accumulator>& at = plan.outers[axis];
      if (at.weights == nullptr) continue;
      Accumulator weight = at.weights[outer_[axis].position - window_start(at.taps, at_[axis])];
      if (at.inverse != nullptr) weight = weight * inverse_[axis];
      product = axis == 0 ? weight : product * weight;
    }
    return product;
  }

  TOKFRAG_HOST_DEVICE void next() {
    bool carry = true;
    TOKFRAG_UNROLL
    for (int axis = kOuter - 1; axis >= 0; --axis) {
      const Index moved = at_[axis] + (carry ? Index(1) : Index(0));
      carry = moved == outer_[axis].end;
      at_[axis] = carry ? outer_[axis].first : moved;
    }
    last_at_ += carry ? Index(1) : Index(0);
  }

  TOKFRAG_HOST_DEVICE Index position(int axis) const { return outer_[axis].position; }
  TOKFRAG_HOST_DEVICE const PlainTaps<Index>& last() const { return last_; }
  TOKFRAG_HOST_DEVICE Index taps() const { return outer_taps_ * (last_.end - last_.first); }
  // How many windows share one of the innermost axis.
  TOKFRAG_HOST_DEVICE Index outer_taps() const { return outer_taps_; }

 private:
  // What a window adds to the place of a position's number, beside the position itself.
  TOKFRAG_HOST_DEVICE static Index shift(const WindowedAxis<Index, Accumulator>& axis,
                                         Index window) {
    return window * static_cast<Index>(axis.window_stride) -
           window_start(axis.taps, window) * static_cast<Index>(axis.tap_stride);
  }

  PlainTaps<Index> last_;
  PlainTaps<Index> outer_[kOuter];
  Index last_at_;
  Index at_[kOuter];
  Index outer_taps_;
  Index base_;
  Accumulator inverse_[kOuter];
};

// Weights of neighbouring positions, which begin at a multiple of 16 bytes where they fill as many.
template <int kNumbers, class Accumulator>
TOKFRAG_HOST_DEVICE inline void load_weights(const Accumulator* from, Accumulator* weights) {
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(Accumulator));
  if constexpr (kBytes % kMaxUnit == 0) {
    TOKFRAG_UNROLL
    for (int at = 0; at < kBytes; at += kMaxUnit) {
      const auto unit = load_unit<kMaxUnit>(reinterpret_cast<const char*>(from) + at);
      std::memcpy(reinterpret_cast<char*>(weights) + at, &unit, kMaxUnit);
    }
  } else {
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) weights[i] = from[i];
  }
}

// What the finished sums of a unit are multiplied or divided by; see scale_of_mean.
template <class T, int kNumbers, int kOuter, class Index, class Accumulator>
TOKFRAG_HOST_DEVICE inline void plain_scale(const DeviceMergePlan<Index, Accumulator>& plan,
                                            const PlainCursor<kOuter, Index, Accumulator>& cursor,
                                            Index position, Accumulator* scale) {
  Accumulator shared{};
  bool any = false;
  TOKFRAG_UNROLL
  for (int axis = 0; axis < kOuter; ++axis) {
    if (axis >= plan.outer || plan.outers[axis].weights != nullptr) continue;
    const auto* factors = plan.divides ? plan.outers[axis].sums : plan.outers[axis].inverse;
    if (factors == nullptr) continue;
    const Accumulator factor = factors[plan.outers[axis].entry(cursor.position(axis))];
    shared = any ? shared * factor : factor;
    any = true;
  }
  const auto* factors = plan.divides ? plan.last.sums : plan.last.inverse;
  const Index entry = plan.last.entry(position);
  TOKFRAG_UNROLL
  for (int i = 0; i < kNumbers; ++i) {
    if (factors == nullptr) {
      scale[i] = shared;
      continue;
    }
    const Accumulator factor = factors[entry + (plan.spread ? Index(i) : Index(0))];
    scale[i] = any ? shared * factor : factor;
  }
}

template <class Accumulator, class T>
TOKFRAG_HOST_DEVICE inline Accumulator weighed(Accumulator weight, T number, float lift) {
  if constexpr (std::is_same_v<Accumulator, Pair>) {
    return weight * (number * lift);
  } else {
    return weight * value_of(number);
  }
}

// The sums of a unit. `lift` multiplies every number first, if Accumulator is Pair, and `largest`
// becomes the largest of them.
template <class T, int kNumbers, int kOuter, class Index, class Accumulator>
TOKFRAG_HOST_DEVICE inline void sum_plain(const DeviceMergePlan<Index, Accumulator>& plan,
                                          PlainCursor<kOuter, Index, Accumulator>& cursor,
                                          float lift, Accumulator* sum, float* largest) {
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(T));
  constexpr bool kPaired = std::is_same_v<Accumulator, Pair>;
  constexpr int kAhead = kTapsAhead<kNumbers, kOuter, Accumulator>;
  Accumulator other[kNumbers];  // of one window of the last axis, over the outer ones
  TOKFRAG_UNROLL
  for (int i = 0; i < kNumbers; ++i) {
    // -0 is the neutral element of addition: 0 would turn a lone -0 into 0.
    if constexpr (kPaired) {
      sum[i] = {-0.0F, -0.0F};
      largest[i] = 0;
    } else {
      sum[i] = Accumulator(-0.0);
    }
    other[i] = Accumulator{};
  }
  const PlainTaps<Index>& last = cursor.last();
  Index window = last.first;
  Index outer_left = cursor.outer_taps();  // of this window
  bool first = true;
  TOKFRAG_NO_UNROLL
  for (Index left = cursor.taps(); left > 0;) {
    Unit<kBytes> loaded[kAhead];
    Accumulator weights[kAhead];
    TOKFRAG_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      if (Index(k) >= left) continue;
      loaded[k] =
          load_unit<kBytes>(plan.fragments + static_cast<std::int64_t>(cursor.offset(plan)) *
                                                 static_cast<std::int64_t>(sizeof(T)));
      weights[k] = cursor.weight(plan);
      cursor.next();
    }
    TOKFRAG_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      if (Index(k) >= left) continue;
      T numbers[kNumbers];
      std::memcpy(numbers, &loaded[k], kBytes);
      TOKFRAG_UNROLL
      for (int i = 0; i < kNumbers; ++i) {
        const Accumulator scaled = weighed(weights[k], numbers[i], lift);
        other[i] = first ? scaled : other[i] + scaled;
        if constexpr (kPaired) {
          const float size = numbers[i] < 0 ? -numbers[i] : numbers[i];
          largest[i] = size > largest[i] ? size : largest[i];
        }
      }
      first = --outer_left == 0;
      if (!first) continue;
      Accumulator along[kNumbers];
      if (plan.last.weights != nullptr) {
        const Index tap = last.position - window_start(plan.last.taps, window);
        if (plan.spread) {
          load_weights<kNumbers>(plan.last.weights + tap, along);
        } else {
          const Accumulator weight = plan.last.weights[tap];
          TOKFRAG_UNROLL
          for (int i = 0; i < kNumbers; ++i) along[i] = weight;
        }
      }
      TOKFRAG_UNROLL
      for (int i = 0; i < kNumbers; ++i) {
        sum[i] = sum[i] + (plan.last.weights == nullptr ? other[i] : along[i] * other[i]);
      }
      ++window;
      outer_left = cursor.outer_taps();
    }
    left = left > Index(kAhead) ? left - Index(kAhead) : Index(0);
  }
}

// The whole thread, for sums and means: the output's unit of number `unit`.
template <class T, int kNumbers, int kOuter, class Index, class Accumulator>
TOKFRAG_HOST_DEVICE inline void merge_plain(const DeviceMergePlan<Index, Accumulator>& plan,
                                            Index unit) {
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(T));
  constexpr bool kPaired = std::is_same_v<Accumulator, Pair>;
  char* out = plan.out + static_cast<std::int64_t>(unit) * kBytes;
  const Index position = last_position<kNumbers>(plan, unit);
  PlainCursor<kOuter, Index, Accumulator> cursor;
  if (!cursor.begin(plan, unit, static_cast<Index>(plain_offset(plan, unit)), position)) {
    fill_unit<kBytes>(plan, out);
    return;
  }
  Accumulator sum[kNumbers];
  float largest[kNumbers];
  Accumulator scale[kNumbers];
  bool scaled = plan.mean;
  if (scaled) {
    plain_scale<T, kNumbers, kOuter, Index>(plan, cursor, position, scale);
    scaled = plan.scales;
  }
  T result[kNumbers];
  if constexpr (kPaired) {
    // Once more for numbers at either end of what floats hold, which are few.
    bool again[3] = {true, false, false};
    TOKFRAG_NO_UNROLL
    for (int pass = 0; pass < 3; ++pass) {
      if (!(pass == 0 ? again[0] : pass == 1 ? again[1] : again[2])) continue;
      const float lift = pass == 0 ? 1.0F : pass == 1 ? kPairsDown : kPairsUp;
      const float drop = pass == 0 ? 1.0F : pass == 1 ? 1.0F / kPairsDown : 1.0F / kPairsUp;
      if (pass > 0) cursor.rewind();
      sum_plain<T, kNumbers, kOuter, Index>(plan, cursor, lift, sum, largest);
      TOKFRAG_UNROLL
      for (int i = 0; i < kNumbers; ++i) {
        if (scaled) sum[i] = sum[i] * scale[i];
        const float size = largest[i];
        const bool wrong = pass == 0   ? true
                           : pass == 1 ? !(result[i] - result[i] == 0)
                                       : size > 0 && size < kLeastPaired;
        if (wrong) result[i] = rounded(sum[i]) * drop;
        again[1] = again[1] || !(result[i] - result[i] == 0);
        again[2] = again[2] || (size > 0 && size < kLeastPaired);
      }
    }
  } else {
    sum_plain<T, kNumbers, kOuter, Index>(plan, cursor, 1.0F, sum, largest);
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) {
      Accumulator value = sum[i];
      if (scaled) value = plan.divides ? value / scale[i] : value * scale[i];
      result[i] = number_of<T>(value);
    }
  }
  Unit<kBytes> made;
  std::memcpy(&made, result, kBytes);
  stream_unit<kBytes>(out, made);
}

// The whole thread, for maxima and minima.
template <class T, int kNumbers, int kOuter, class Index>
TOKFRAG_HOST_DEVICE inline void merge_plain_extreme(
    const DeviceMergePlan<Index, AccumulatorOf<T>>& plan, Index unit) {
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(T));
  constexpr int kAhead = kNumbers > 8 ? 2 : 4;  // what 80 registers allow
  char* out = plan.out + static_cast<std::int64_t>(unit) * kBytes;
  PlainCursor<kOuter, Index, AccumulatorOf<T>> cursor;
  if (!cursor.begin(plan, unit, static_cast<Index>(plain_offset(plan, unit)),
                    last_position<kNumbers>(plan, unit))) {
    fill_unit<kBytes>(plan, out);
    return;
  }
  T best[kNumbers];
  bool first = true;
  TOKFRAG_NO_UNROLL
  for (Index left = cursor.taps(); left > 0;) {
    Unit<kBytes> loaded[kAhead];
    TOKFRAG_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      if (Index(k) >= left) continue;
      loaded[k] =
          load_unit<kBytes>(plan.fragments + static_cast<std::int64_t>(cursor.offset(plan)) *
                                                 static_cast<std::int64_t>(sizeof(T)));
      cursor.next();
    }
    TOKFRAG_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      if (Index(k) >= left) continue;
      T numbers[kNumbers];
      std::memcpy(numbers, &loaded[k], kBytes);
      TOKFRAG_UNROLL
      for (int i = 0; i < kNumbers; ++i) {
        const bool beyond =
            plan.least ? exceeds(best[i], numbers[i]) : exceeds(numbers[i], best[i]);
        const bool no_number = is_no_number(numbers[i]);
        if (first || beyond || no_number) best[i] = numbers[i];
      }
      first = false;
    }
    left = left > Index(kAhead) ? left - Index(kAhead) : Index(0);
  }
  Unit<kBytes> made;
  std::memcpy(&made, best, kBytes);
  stream_unit<kBytes>(out, made);
}

}  // namespace tokfrag
