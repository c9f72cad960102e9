// extract on a GPU where units of 16 bytes do not fit the rows of a fragment (14 pixels of one
// byte, 42 bytes of three channels, volumes of 181 positions): what one thread does.
//
// A row is the run of bytes that lies side by side in both arrays: the innermost axis of one
// window. Fragments are contiguous, so a thread stores 16 bytes whatever the rows are, and loads
// them from the one or two rows they belong to, in units as wide as the addresses allow.
#pragma once

#include <cstdint>

#include "core/device/divide.hpp"
#include "core/device/units.hpp"
#include "fragments/extract/device.hpp"
#include "fragments/grid/layout.hpp"

namespace tokfrag {

constexpr int kRowStores = 2;  // a thread's, all loads issued before the first is stored

// All lengths in units of the loads; the innermost axis is counted in them.
template <class Index>
struct DeviceRowPlan {
  int rank;
  Index stores;        // of 16 bytes, of the whole output
  Divisor<Index> row;  // units a row
  Index data_batch_stride;
  ExtractAxis<Index> axes[kMaxLayoutAxes];
  // For stores that reach beyond an axis.
  GridLayout layout;
  std::int64_t taps;
  Unit<kMaxUnit> pad;
  const char* data;
  char* fragments;
};

// Where a row comes from, and how many of its units lie inside the array.
template <class Index>
struct RowPlace {
  Index from;
  Index inside;
};

template <class Index>
TOKFRAG_HOST_DEVICE inline RowPlace<Index> find_row(const DeviceRowPlan<Index>& plan, Index row) {
  Index position[kMaxLayoutAxes];
  Index rest = row;
  TOKFRAG_UNROLL
  for (int axis = kMaxLayoutAxes - 1; axis >= 0; --axis) {
    if (axis >= plan.rank) continue;
    position[axis] = axis == plan.rank - 1
                         ? Index(0)
                         : take_digit(rest, plan.axes[axis].size) * plan.axes[axis].dilation;
  }
  RowPlace<Index> place{0, plan.row.value};
  TOKFRAG_UNROLL
  for (int axis = kMaxLayoutAxes - 1; axis >= 0; --axis) {
    if (axis >= plan.rank) continue;
    const ExtractAxis<Index>& at = plan.axes[axis];
    const Index regular = take_digit(rest, at.count) * at.stride;
    position[axis] += regular < at.last_start ? regular : at.last_start;
    const Index left = position[axis] < at.length ? at.length - position[axis] : Index(0);
    const Index held = axis == plan.rank - 1 ? left : (left > 0 ? plan.row.value : Index(0));
    place.inside = held < place.inside ? held : place.inside;
    place.from += position[axis] * at.data_stride;
  }
  place.from += rest * plan.data_batch_stride;
  return place;
}

// The whole thread: stores first, first + step, ... , kRowStores of them.
template <int kLoad, class Index>
TOKFRAG_HOST_DEVICE inline void extract_rows(const DeviceRowPlan<Index>& plan, Index first,
                                             Index step) {
  constexpr int kLoads = kMaxUnit / kLoad;
  Unit<kLoad> units[kRowStores][kLoads];
  bool whole[kRowStores];
  TOKFRAG_UNROLL
  for (int s = 0; s < kRowStores; ++s) {
    const Index index = first + static_cast<Index>(s) * step;
    whole[s] = false;
    if (index >= plan.stores) continue;
    Index row = index * kLoads;
    const Index begin = take_digit(row, plan.row);
    const Index end = begin + kLoads;
    const RowPlace<Index> place = find_row(plan, row);
    // The next row, where a store ends in it: rows are as long as a store but for one load.
    RowPlace<Index> next{0, 0};
    const bool two = end > plan.row.value;
    if (two) next = find_row(plan, row + 1);
    const Index last = two ? plan.row.value : end;
    whole[s] = last <= place.inside && (!two || end - plan.row.value <= next.inside);
    if (!whole[s]) continue;
    TOKFRAG_UNROLL
    for (int i = 0; i < kLoads; ++i) {
      const Index at = begin + static_cast<Index>(i);
      const Index from = at < plan.row.value ? place.from + at : next.from + (at - plan.row.value);
      units[s][i] = load_unit<kLoad>(plan.data + static_cast<std::int64_t>(from) * kLoad);
    }
  }
  bool all_whole = true;
  TOKFRAG_UNROLL
  for (int s = 0; s < kRowStores; ++s) {
    const Index index = first + static_cast<Index>(s) * step;
    if (index >= plan.stores) continue;
    all_whole = all_whole && whole[s];
    if (!whole[s]) continue;
    Unit<kMaxUnit> made;
    std::memcpy(&made, units[s], kMaxUnit);
    stream_unit<kMaxUnit>(plan.fragments + static_cast<std::int64_t>(index) * kMaxUnit, made);
  }
  if (all_whole) return;
  TOKFRAG_NO_UNROLL
  for (int s = 0; s < kRowStores; ++s) {
    const Index index = first + static_cast<Index>(s) * step;
    if (index >= plan.stores || whole[s]) continue;
    const auto number = static_cast<std::int64_t>(index);
    compose_unit<kMaxUnit>(plan, plan.fragments + number * kMaxUnit, number);
  }
}

// The bytes of a load, if this layout is best moved row by row; else 0. `unit`: what extract_unit
// allows. `layout` must not be empty, and fragments contiguous.
int extract_row_load(const GridLayout& layout, int unit, const void* data, const void* fragments);

// `pad_value`: `layout.item` bytes.
DeviceRowPlan<std::uint32_t> make_row_plan(const GridLayout& layout, int load, const void* data,
                                           void* fragments, const void* pad_value);

}  // namespace tokfrag
