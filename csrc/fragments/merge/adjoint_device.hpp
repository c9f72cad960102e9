// extract_weighted (adjoint.hpp) on a GPU: what one thread does, and the plan for all of them.
//
// A thread makes units of the fragments: numbers side by side, of one position or of several of the
// innermost axis. Each is read once, multiplied by what depends on its position (the inverse of the
// sum of weights) and then by its window's weights, in the order of the CPU's kernel.
#pragma once

#include <cstdint>

#include "core/device/divide.hpp"
#include "core/device/numbers.hpp"
#include "core/device/units.hpp"
#include "core/dtype.hpp"
#include "fragments/grid/layout.hpp"
#include "fragments/merge/device.hpp"

namespace tokfrag {

constexpr int kWeighedUnits = 2;  // a thread's, all read before the first is written

template <class Index, class Accumulator>
struct WeighedAxis {
  Divisor<Index> count;
  Divisor<Index> size;    // in units, on the innermost axis of a plan that spreads them
  Divisor<Index> stride;  // of windows
  Index last_start;
  Index dilation;
  Index length;
  std::int64_t data_stride;  // numbers, as all below
  std::int64_t whole_window;
  std::int64_t whole_tap;
  std::int64_t norm_stride;
  const Accumulator* weights;
  const Accumulator* inverse;
  Index first_period;  // of those that `inverse` leaves out
  Index left_out;

  // Where `inverse` holds a position.
  TOKFRAG_HOST_DEVICE Index entry(Index position) const {
    if (left_out == 0) return position;
    const Index period = stride.quotient(position);
    const Index beyond = period > first_period ? period - first_period : 0;
    return position - (beyond < left_out ? beyond : left_out) * stride.value;
  }
};

template <class Index, class Accumulator>
struct DeviceWeighedPlan {
  int rank;
  bool spread;             // the numbers of a unit lie at different positions
  PadMode fold;            // kConstant: beyond an axis lie zeros
  Divisor<Index> element;  // units a position; 1 if spread
  Index units;             // of the whole output
  std::int64_t data_batch_stride;
  const Accumulator* whole;
  const Accumulator* norms;
  const char* data;
  char* fragments;
  WeighedAxis<Index, Accumulator> axes[kMaxLayoutAxes];
};

// Where a unit comes from, and what it is multiplied by, but for the numbers of a spread unit on
// the innermost axis.
template <class Index, class Accumulator>
struct WeighedPlace {
  std::int64_t from;
  std::int64_t whole;
  std::int64_t norm;
  Accumulator inverse;
  Accumulator weight;
  Index tap;       // on the innermost axis; as the position, the first of a spread unit's
  Index position;  // there, padded ones too
  bool inside;     // on all axes; of a spread unit on all but the innermost
};

// `position` on an axis or, beyond it, where that is copied from; false if from nowhere.
template <class Index, class Accumulator>
TOKFRAG_HOST_DEVICE inline bool find_source(const WeighedAxis<Index, Accumulator>& axis,
                                            PadMode fold, Index& position) {
  if (position < axis.length) return true;
  if (fold == PadMode::kConstant) return false;
  position = static_cast<Index>(source_position(static_cast<std::int64_t>(axis.length), fold,
                                                static_cast<std::int64_t>(position)));
  return true;
}

template <int kNumbers, class Index, class Accumulator>
TOKFRAG_HOST_DEVICE inline WeighedPlace<Index, Accumulator> find_weighed(
    const DeviceWeighedPlan<Index, Accumulator>& plan, Index unit) {
  Index taps[kMaxLayoutAxes];
  Index rest = unit;
  const Index within = take_digit(rest, plan.element);
  WeighedPlace<Index, Accumulator> place{};
  place.from = static_cast<std::int64_t>(within) * kNumbers;
  place.inverse = 1;
  place.weight = 1;
  place.inside = true;
  TOKFRAG_UNROLL
  for (int axis = kMaxLayoutAxes - 1; axis >= 0; --axis) {
    if (axis < plan.rank) taps[axis] = take_digit(rest, plan.axes[axis].size);
  }
  Index starts[kMaxLayoutAxes];
  TOKFRAG_UNROLL
  for (int axis = kMaxLayoutAxes - 1; axis >= 0; --axis) {
    if (axis >= plan.rank) continue;
    const Index window = take_digit(rest, plan.axes[axis].count);
    const Index regular = window * plan.axes[axis].stride.value;
    starts[axis] = regular < plan.axes[axis].last_start ? regular : plan.axes[axis].last_start;
    place.whole += static_cast<std::int64_t>(window) * plan.axes[axis].whole_window;
  }
  place.from += static_cast<std::int64_t>(rest) * plan.data_batch_stride;
  TOKFRAG_UNROLL
  for (int axis = 0; axis < kMaxLayoutAxes; ++axis) {
    if (axis >= plan.rank) continue;
    const WeighedAxis<Index, Accumulator>& at = plan.axes[axis];
    const bool spread = plan.spread && axis == plan.rank - 1;
    const Index tap = spread ? taps[axis] * Index(kNumbers) : taps[axis];
    Index position = starts[axis] + tap * at.dilation;
    place.whole += static_cast<std::int64_t>(tap) * at.whole_tap;
    if (axis == plan.rank - 1) {
      place.tap = tap;
      place.position = position;
      if (spread) continue;
    }
    place.inside = find_source(at, plan.fold, position) && place.inside;
    place.from += static_cast<std::int64_t>(position) * at.data_stride;
    place.norm += static_cast<std::int64_t>(position) * at.norm_stride;
    if (at.weights != nullptr) place.weight *= at.weights[tap];
    if (at.inverse != nullptr && place.inside) place.inverse *= at.inverse[at.entry(position)];
  }
  return place;
}

// The whole thread: units first, first + step, ... , kWeighedUnits of them.
template <class T, int kNumbers, class Index>
TOKFRAG_HOST_DEVICE inline void weigh_units(const DeviceWeighedPlan<Index, AccumulatorOf<T>>& plan,
                                            Index first, Index step) {
  using Accumulator = AccumulatorOf<T>;
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(T));
  constexpr auto kItem = static_cast<std::int64_t>(sizeof(T));
  const WeighedAxis<Index, Accumulator>& last = plan.axes[plan.rank - 1];
  Unit<kBytes> units[kWeighedUnits];
  WeighedPlace<Index, Accumulator> places[kWeighedUnits];
  bool whole[kWeighedUnits];  // read by one access
  TOKFRAG_UNROLL
  for (int u = 0; u < kWeighedUnits; ++u) {
    const Index unit = first + static_cast<Index>(u) * step;
    whole[u] = false;
    if (unit >= plan.units) continue;
    places[u] = find_weighed<kNumbers>(plan, unit);
    whole[u] = places[u].inside;
    if (plan.spread) whole[u] = whole[u] && places[u].position + Index(kNumbers) <= last.length;
    if (!whole[u]) continue;
    const std::int64_t along =
        plan.spread ? static_cast<std::int64_t>(places[u].position) * last.data_stride : 0;
    units[u] = load_unit<kBytes>(plan.data + (places[u].from + along) * kItem);
  }
  TOKFRAG_UNROLL
  for (int u = 0; u < kWeighedUnits; ++u) {
    const Index unit = first + static_cast<Index>(u) * step;
    if (unit >= plan.units) continue;
    const WeighedPlace<Index, Accumulator>& place = places[u];
    T numbers[kNumbers];
    std::memcpy(numbers, &units[u], kBytes);
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) {
      Index position = place.position + (plan.spread ? Index(i) : Index(0));
      Accumulator value = 0;
      bool held = place.inside;
      if (whole[u]) {
        value = value_of(numbers[i]);
      } else if (plan.spread && held) {
        held = find_source(last, plan.fold, position);
        if (held) {
          const std::int64_t at =
              place.from + static_cast<std::int64_t>(position) * last.data_stride;
          const auto one = load_unit<static_cast<int>(sizeof(T))>(plan.data + at * kItem);
          T number;
          std::memcpy(&number, &one, sizeof(T));
          value = value_of(number);
        }
      }
      Accumulator inverse = place.inverse;
      Accumulator weight = place.weight;
      if (plan.spread) {
        if (last.inverse != nullptr && held) inverse *= last.inverse[last.entry(position)];
        if (last.weights != nullptr) weight *= last.weights[place.tap + Index(i)];
      }
      if (plan.norms != nullptr && held) {
        const std::int64_t along =
            plan.spread ? static_cast<std::int64_t>(position) * last.norm_stride : 0;
        inverse = Accumulator(1) / plan.norms[place.norm + along];
      }
      if (plan.whole != nullptr) {
        weight = plan.whole[place.whole + (plan.spread ? i * last.whole_tap : 0)];
      }
      numbers[i] = number_of<T>(value * inverse * weight);
    }
    Unit<kBytes> made;
    std::memcpy(&made, numbers, kBytes);
    stream_unit<kBytes>(plan.fragments + static_cast<std::int64_t>(unit) * kBytes, made);
  }
}

// How many numbers a unit may hold: `wide`, which take 16 bytes, or 1. `layout` must not be empty.
int weighed_numbers(const GridLayout& layout, const void* data, const void* fragments, int wide);

template <class Index, class Accumulator>
DeviceWeighedPlan<Index, Accumulator> make_weighed_plan(const GridLayout& layout,
                                                        const GridShape& grid,
                                                        const DeviceWindow& window, int numbers,
                                                        const void* data, const void* norms,
                                                        void* fragments);

extern template DeviceWeighedPlan<std::uint32_t, float> make_weighed_plan(
    const GridLayout&, const GridShape&, const DeviceWindow&, int, const void*, const void*, void*);
extern template DeviceWeighedPlan<std::uint64_t, float> make_weighed_plan(
    const GridLayout&, const GridShape&, const DeviceWindow&, int, const void*, const void*, void*);
extern template DeviceWeighedPlan<std::uint32_t, double> make_weighed_plan(
    const GridLayout&, const GridShape&, const DeviceWindow&, int, const void*, const void*, void*);
extern template DeviceWeighedPlan<std::uint64_t, double> make_weighed_plan(
    const GridLayout&, const GridShape&, const DeviceWindow&, int, const void*, const void*, void*);

}  // namespace tokfrag
