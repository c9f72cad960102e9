// merge on a GPU: what one thread does, and the plan that the host makes for all of them.
//
// A thread makes a unit of the output: up to 16 contiguous bytes, numbers that lie in the same
// windows. It gathers them from every fragment that holds them, in the order merge.hpp gives, so
// there are no atomics, no map of counts, and the same bits every time.
#pragma once

#include <cstdint>

#include "core/device/divide.hpp"
#include "core/device/numbers.hpp"
#include "core/device/pair.hpp"
#include "core/device/units.hpp"
#include "core/dtype.hpp"
#include "fragments/grid/layout.hpp"
#include "fragments/merge/merge.hpp"
#include "fragments/merge/periods.hpp"
#include "fragments/merge/taps_device.hpp"

namespace tokfrag {

// The weights of a merge, on the device, in the accumulator's type. One vector an axis, or `whole`.
struct DeviceWindow {
  Reduce reduce;
  const void* weights[kMaxAxes];  // null: ones
  const void* inverse[kMaxAxes];  // of a mean: 1 / (sum of weights), 0 where uncovered
  const void* sums[kMaxAxes];     // of a mean: what `inverse` is the inverse of
  LeftOut left_out[kMaxAxes];     // of `inverse` and `sums`
  const void* whole;              // null: none
  bool per_fragment;
  bool constant;  // `whole` has one number a fragment
  bool uniform;   // every weight is 1
  // Bytes from each of the tables, in double, to the same as Pair; 0: there are none, or the device
  // adds doubles well.
  std::int64_t pairs;
};

enum class DeviceMergeMethod {
  kScaled,   // weights that are products over the axes
  kExact,    // unweighted mean of float64: sums carried in two doubles
  kWhole,    // a weight for each element of the window, summed alongside
  kExtreme,  // the largest, or the smallest
  kAny,      // of a kernel: what its plan says
};

// Axes the position of which shifts the place in the fragments, and no more: the batch, channels,
// axes that windows take whole, units of a position.
template <class Index>
struct PlainAxis {
  Divisor<Index> below;  // units of the output an index of this axis spans
  Divisor<Index> length;
  std::int64_t stride;  // numbers, in the fragments
};

template <class Index, class Accumulator>
struct WindowedAxis {
  Divisor<Index> below;
  Divisor<Index> length;
  TapAxis<Index> taps;
  std::int64_t window_stride;  // numbers, in the fragments
  std::int64_t tap_stride;
  std::int64_t whole_window;  // numbers, in the whole-window weights
  std::int64_t whole_tap;
  const Accumulator* weights;
  const Accumulator* inverse;
  const Accumulator* sums;
  Index first_period;  // of those that `inverse` and `sums` leave out
  Index left_out;

  // Where `inverse` and `sums` hold a position.
  TOKFRAG_HOST_DEVICE Index entry(Index position) const {
    if (left_out == 0) return position;
    const Index period = taps.stride.quotient(position);
    const Index beyond = period > first_period ? period - first_period : 0;
    return position - (beyond < left_out ? beyond : left_out) * taps.stride.value;
  }
};

constexpr int kMaxPlainAxes = kMaxLayoutAxes + 2;

template <class Index, class Accumulator>
struct DeviceMergePlan {
  Index units;  // of the whole output
  DeviceMergeMethod method;
  int plain;
  int outer;    // windowed axes but the innermost
  bool spread;  // the numbers of a unit lie at different positions of the innermost axis
  bool mean;
  bool scales;   // a mean, by one table at least
  bool least;    // of extremes the smallest
  bool vote;     // of what is ordered the most frequent; else the middle
  bool divides;  // by the sum of weights; else multiplies by its inverse
  const Accumulator* whole;
  const char* fragments;
  char* out;
  Unit<kMaxUnit> fill;  // the fill value, repeated
  PlainAxis<Index> plains[kMaxPlainAxes];
  WindowedAxis<Index, Accumulator> outers[kMaxAxes];
  WindowedAxis<Index, Accumulator> last;
};

// Where the current taps of the outer axes lead, axis by axis.
template <class Accumulator>
struct OuterPlace {
  std::int64_t offset;  // numbers, in the fragments
  std::int64_t whole;
  Accumulator weight;
};

// Steps through the taps of the outer axes, row-major.
template <int kOuter, class Index, class Accumulator>
class OuterCursor {
 public:
  using Plan = DeviceMergePlan<Index, Accumulator>;

  // False if some axis has no window over the unit.
  TOKFRAG_HOST_DEVICE bool begin(const Plan& plan, Index unit, std::int64_t offset) {
    places_[0] = {offset, 0, Accumulator(1)};
    bool covered = true;
    TOKFRAG_UNROLL
    for (int axis = 0; axis < kOuter; ++axis) {
      if (axis >= plan.outer) continue;
      Index rest = plan.outers[axis].below.quotient(unit);
      covered = cursors_[axis].begin(plan.outers[axis].taps,
                                     take_digit(rest, plan.outers[axis].length)) &&
                covered;
    }
    if (covered) place_from(plan, 0);
    return covered;
  }

  // False, and back at the first taps, after the last ones.
  TOKFRAG_HOST_DEVICE bool next(const Plan& plan) {
    int moved = -1;
    TOKFRAG_UNROLL
    for (int axis = kOuter - 1; axis >= 0; --axis) {
      if (axis >= plan.outer || moved >= 0) continue;
      if (cursors_[axis].next(plan.outers[axis].taps)) {
        moved = axis;
      } else {
        cursors_[axis].rewind(plan.outers[axis].taps);
      }
    }
    place_from(plan, moved < 0 ? 0 : moved);
    return moved >= 0;
  }

  TOKFRAG_HOST_DEVICE Index position(int axis) const { return cursors_[axis].position; }
  TOKFRAG_HOST_DEVICE const OuterPlace<Accumulator>& place() const { return places_[kOuter]; }

 private:
  TOKFRAG_HOST_DEVICE void place_from(const Plan& plan, int moved) {
    TOKFRAG_UNROLL
    for (int axis = 0; axis < kOuter; ++axis) {
      if (axis < moved) continue;
      places_[axis + 1] = places_[axis];
      if (axis >= plan.outer) continue;
      const WindowedAxis<Index, Accumulator>& at = plan.outers[axis];
      const auto window = static_cast<std::int64_t>(cursors_[axis].window);
      const auto tap = static_cast<std::int64_t>(cursors_[axis].tap);
      places_[axis + 1].offset += window * at.window_stride + tap * at.tap_stride;
      places_[axis + 1].whole += window * at.whole_window + tap * at.whole_tap;
      if (at.weights == nullptr) continue;
      Accumulator weight = at.weights[tap];
      if (at.inverse != nullptr) weight *= at.inverse[at.entry(cursors_[axis].position)];
      places_[axis + 1].weight *= weight;
    }
  }

  TapCursor<Index> cursors_[kOuter];
  OuterPlace<Accumulator> places_[kOuter + 1];
};

// Knuth's two-sum: high + low is the exact sum so far.
TOKFRAG_HOST_DEVICE inline void add_exactly(double& high, double& low, double value) {
  const double sum = high + value;
  const double taken = sum - high;
  low += (high - (sum - taken)) + (value - taken);
  high = sum;
}

TOKFRAG_HOST_DEVICE inline double divide_exactly(double high, double low, double divisor) {
  const double quotient = high / divisor;
  const double rest = __builtin_fma(-quotient, divisor, high) + low;
  const bool refine = rest != 0 && rest - rest == 0;
  return refine ? quotient + rest / divisor : quotient;
}

// What the finished sums of a unit are multiplied or divided by.
template <class T, int kNumbers, int kOuter, class Index>
TOKFRAG_HOST_DEVICE inline void scale_of_mean(
    const DeviceMergePlan<Index, AccumulatorOf<T>>& plan,
    const OuterCursor<kOuter, Index, AccumulatorOf<T>>& outer, Index position, bool divides,
    AccumulatorOf<T>* scale) {
  AccumulatorOf<T> shared = 1;
  TOKFRAG_UNROLL
  for (int axis = 0; axis < kOuter; ++axis) {
    if (axis >= plan.outer || plan.outers[axis].weights != nullptr) continue;
    const auto* factors = divides ? plan.outers[axis].sums : plan.outers[axis].inverse;
    if (factors != nullptr) shared *= factors[plan.outers[axis].entry(outer.position(axis))];
  }
  const auto* factors = divides ? plan.last.sums : plan.last.inverse;
  // The numbers of a unit lie in one period: the stride is a multiple of it.
  const Index entry = plan.last.entry(position);
  TOKFRAG_UNROLL
  for (int i = 0; i < kNumbers; ++i) {
    scale[i] =
        factors == nullptr ? shared : shared * factors[entry + (plan.spread ? Index(i) : Index(0))];
  }
}

// Numbers into the fragments, for what depends on no window.
template <class Index, class Accumulator>
TOKFRAG_HOST_DEVICE inline std::int64_t plain_offset(
    const DeviceMergePlan<Index, Accumulator>& plan, Index unit) {
  std::int64_t offset = 0;
  TOKFRAG_NO_UNROLL
  for (int axis = 0; axis < plan.plain; ++axis) {
    Index rest = plan.plains[axis].below.quotient(unit);
    offset += static_cast<std::int64_t>(take_digit(rest, plan.plains[axis].length)) *
              plan.plains[axis].stride;
  }
  return offset;
}

// The position of a unit, or the first of those it covers, on the innermost axis.
template <int kNumbers, class Index, class Accumulator>
TOKFRAG_HOST_DEVICE inline Index last_position(const DeviceMergePlan<Index, Accumulator>& plan,
                                               Index unit) {
  Index rest = plan.last.below.quotient(unit);
  return take_digit(rest, plan.last.length) * (plan.spread ? Index(kNumbers) : Index(1));
}

template <int kBytes, class Index, class Accumulator>
TOKFRAG_HOST_DEVICE inline void fill_unit(const DeviceMergePlan<Index, Accumulator>& plan,
                                          char* out) {
  Unit<kBytes> fill;
  std::memcpy(&fill, &plan.fill, kBytes);
  stream_unit<kBytes>(out, fill);
}

// Goes to the first windows over a unit. Where some axis has none, writes the fill value and is
// false.
template <class T, int kNumbers, int kOuter, class Index>
TOKFRAG_HOST_DEVICE inline bool begin_unit(const DeviceMergePlan<Index, AccumulatorOf<T>>& plan,
                                           Index unit, char* out,
                                           OuterCursor<kOuter, Index, AccumulatorOf<T>>& outer,
                                           TapCursor<Index>& last) {
  const bool covered = outer.begin(plan, unit, plain_offset(plan, unit)) &&
                       last.begin(plan.last.taps, last_position<kNumbers>(plan, unit));
  if (!covered) fill_unit<kNumbers* static_cast<int>(sizeof(T))>(plan, out);
  return covered;
}

// The whole thread: the output's unit of number `unit`.
template <class T, int kNumbers, DeviceMergeMethod kMethod, int kOuter, class Index>
TOKFRAG_HOST_DEVICE inline void merge_unit(const DeviceMergePlan<Index, AccumulatorOf<T>>& plan,
                                           Index unit) {
  using Accumulator = AccumulatorOf<T>;
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(T));
  const DeviceMergeMethod method = kMethod == DeviceMergeMethod::kAny ? plan.method : kMethod;
  char* out = plan.out + static_cast<std::int64_t>(unit) * kBytes;
  TapCursor<Index> last;
  OuterCursor<kOuter, Index, Accumulator> outer;
  if (!begin_unit<T, kNumbers>(plan, unit, out, outer, last)) return;

  Accumulator sum[kNumbers];    // so far
  Accumulator other[kNumbers];  // kScaled: of one window of the last axis, over the outer ones;
                                // kExact: what `sum` has lost; kWhole: of the weights
  T best[kNumbers];             // kExtreme
  TOKFRAG_UNROLL
  for (int i = 0; i < kNumbers; ++i) {
    // -0 is the neutral element of addition: 0 would turn a lone -0 into 0.
    sum[i] = Accumulator(-0.0);
    other[i] = 0;
  }
  bool first = true;
  do {
    const auto window = static_cast<std::int64_t>(last.window);
    const auto tap = static_cast<std::int64_t>(last.tap);
    const std::int64_t in_window = window * plan.last.window_stride + tap * plan.last.tap_stride;
    const std::int64_t in_whole = window * plan.last.whole_window + tap * plan.last.whole_tap;
    if (method == DeviceMergeMethod::kScaled) first = true;
    do {
      const OuterPlace<Accumulator>& place = outer.place();
      const auto loaded = load_unit<kBytes>(
          plan.fragments + (place.offset + in_window) * static_cast<std::int64_t>(sizeof(T)));
      T numbers[kNumbers];
      std::memcpy(numbers, &loaded, kBytes);
      TOKFRAG_UNROLL
      for (int i = 0; i < kNumbers; ++i) {
        const Accumulator value = value_of(numbers[i]);
        if (method == DeviceMergeMethod::kScaled) {
          const Accumulator scaled = place.weight * value;
          other[i] = first ? scaled : other[i] + scaled;
        } else if (method == DeviceMergeMethod::kWhole) {
          const Accumulator weight =
              plan.whole[place.whole + in_whole + (plan.spread ? i * plan.last.whole_tap : 0)];
          sum[i] += weight * value;
          other[i] += weight;
        } else if (method == DeviceMergeMethod::kExtreme) {
          const bool beyond =
              plan.least ? exceeds(best[i], numbers[i]) : exceeds(numbers[i], best[i]);
          if (first || beyond || value != value) best[i] = numbers[i];
        } else if constexpr (std::is_same_v<T, double>) {
          add_exactly(sum[i], other[i], value);
        }
      }
      first = false;
    } while (outer.next(plan));
    if (method == DeviceMergeMethod::kScaled) {
      const Accumulator* weights = plan.last.weights;
      TOKFRAG_UNROLL
      for (int i = 0; i < kNumbers; ++i) {
        sum[i] += weights == nullptr ? other[i] : weights[tap + (plan.spread ? i : 0)] * other[i];
      }
    }
  } while (last.next(plan.last.taps));

  T result[kNumbers];
  if (method == DeviceMergeMethod::kExtreme) {
    std::memcpy(result, best, kBytes);
  } else if constexpr (kIsSummed<T>) {
    Accumulator scale[kNumbers];
    const bool scaled = plan.mean && method != DeviceMergeMethod::kWhole;
    const bool divides = plan.divides || method == DeviceMergeMethod::kExact;
    if (scaled) {
      scale_of_mean<T, kNumbers, kOuter, Index>(plan, outer, last.position, divides, scale);
    }
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) {
      Accumulator value = sum[i];
      if (plan.mean && method == DeviceMergeMethod::kWhole) {
        // As the host does: the inverse is rounded first, but for integers.
        value = plan.divides ? value / other[i] : value * (Accumulator(1) / other[i]);
      }
      if (scaled && method == DeviceMergeMethod::kScaled) {
        value = divides ? value / scale[i] : value * scale[i];
      }
      if constexpr (std::is_same_v<T, double>) {
        if (method == DeviceMergeMethod::kExact) value = divide_exactly(sum[i], other[i], scale[i]);
      }
      result[i] = number_of<T>(value);
    }
  }
  Unit<kBytes> made;
  std::memcpy(&made, result, kBytes);
  stream_unit<kBytes>(out, made);
}

DeviceMergeMethod choose_merge_method(const DeviceWindow& window, Dtype dtype);

// How many numbers a unit may hold: `wide`, which take 4, 8 or 16 bytes, or 1.
int merge_numbers(const GridLayout& layout, const DeviceWindow& window, const void* fragments,
                  const void* out, int wide);

// Numbers of a wide unit: as many as 16 bytes hold; of integers that are added up four, for each
// has a double for its sum.
template <class T>
constexpr int merge_wide(DeviceMergeMethod method) {
  const int most = kMaxUnit / static_cast<int>(sizeof(T));
  return std::is_integral_v<T> && method != DeviceMergeMethod::kExtreme && most > 4 ? 4 : most;
}

// True if 32-bit numbers count the output's units and the positions of every axis.
bool merge_is_narrow(const GridLayout& layout);

// True if no window is dilated, none holds a copy of a position, and 32-bit numbers count the
// numbers of the fragments too.
bool merge_is_plain(const GridLayout& layout, const DeviceWindow& window);

// Windowed axes but the innermost.
int merge_outer_axes(const GridLayout& layout, const DeviceWindow& window);

// `fill`: one number of type `dtype`. `layout` must come with all weighted axes kept, and have an
// element in its output.
template <class Index, class Accumulator>
DeviceMergePlan<Index, Accumulator> make_merge_plan(const GridLayout& layout, const GridShape& grid,
                                                    const DeviceWindow& window, Dtype dtype,
                                                    int numbers, const void* fragments, void* out,
                                                    const void* fill);

#define TOKFRAG_MERGE_PLAN(Index, Accumulator)                                                  \
  template DeviceMergePlan<Index, Accumulator> make_merge_plan(                                 \
      const GridLayout&, const GridShape&, const DeviceWindow&, Dtype, int, const void*, void*, \
      const void*)
extern TOKFRAG_MERGE_PLAN(std::uint32_t, float);
extern TOKFRAG_MERGE_PLAN(std::uint64_t, float);
extern TOKFRAG_MERGE_PLAN(std::uint32_t, double);
extern TOKFRAG_MERGE_PLAN(std::uint64_t, double);
extern TOKFRAG_MERGE_PLAN(std::uint32_t, Pair);

}  // namespace tokfrag
