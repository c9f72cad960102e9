// extract on a GPU: what one thread does, and the plan that the host makes for all of them.
//
// A thread copies units of up to 16 contiguous bytes. A unit lies within one position, or covers
// several of the innermost axis; that axis is then counted in units. Units of the output are
// numbered in its own order: batch, windows, taps, bytes of a position.
#pragma once

#include <cstdint>

#include "core/device/divide.hpp"
#include "core/device/units.hpp"
#include "fragments/grid/layout.hpp"

namespace tokfrag {

constexpr int kExtractUnits = 4;  // a thread's, all read before the first is written

// One axis, in positions; the innermost in units where these cover several positions. Strides are
// in units.
template <class Index>
struct ExtractAxis {
  Divisor<Index> count;
  Divisor<Index> size;
  Index stride;
  Index last_start;
  Index dilation;
  Index length;  // whole units of it
  Index data_stride;
};

template <class Index>
struct DeviceExtractPlan {
  int rank;
  Divisor<Index> element;  // units a position; 1 where a unit covers several
  Index units;             // of the whole output
  Index data_batch_stride;
  ExtractAxis<Index> axes[kMaxLayoutAxes];
  // For units that are not copied as they are: they reach beyond an axis.
  GridLayout layout;
  std::int64_t taps;   // positions of a fragment
  Unit<kMaxUnit> pad;  // the pad value, repeated
  const char* data;
  char* fragments;
};

// Where a unit comes from, if `whole`. It goes to its own number: fragments are contiguous.
template <class Index>
struct ExtractPlace {
  Index from;
  bool whole;
};

template <class Index>
TOKFRAG_HOST_DEVICE inline ExtractPlace<Index> find_place(const DeviceExtractPlan<Index>& plan,
                                                          Index index) {
  Index position[kMaxLayoutAxes];
  Index rest = index;
  const Index byte = take_digit(rest, plan.element);
  ExtractPlace<Index> place{byte, true};
  TOKFRAG_UNROLL
  for (int axis = kMaxLayoutAxes - 1; axis >= 0; --axis) {
    if (axis >= plan.rank) continue;
    const ExtractAxis<Index>& at = plan.axes[axis];
    const Index tap = take_digit(rest, at.size);
    position[axis] = tap * at.dilation;
  }
  TOKFRAG_UNROLL
  for (int axis = kMaxLayoutAxes - 1; axis >= 0; --axis) {
    if (axis >= plan.rank) continue;
    const ExtractAxis<Index>& at = plan.axes[axis];
    const Index window = take_digit(rest, at.count);
    const Index regular = window * at.stride;
    position[axis] += regular < at.last_start ? regular : at.last_start;
    place.whole = place.whole && position[axis] < at.length;
    place.from += position[axis] * at.data_stride;
  }
  place.from += rest * plan.data_batch_stride;
  return place;
}

// Writes the unit of number `index`, which goes to `to`, element by element, from wherever they
// are.
template <int kBytes, class Plan>
TOKFRAG_HOST_DEVICE inline void compose_unit(const Plan& plan, char* to, std::int64_t index) {
  const GridLayout& layout = plan.layout;
  const std::int64_t element = layout.element;
  const std::int64_t number_bytes = layout.item < kBytes ? layout.item : kBytes;
  const std::int64_t piece = element % kBytes == 0 ? kBytes : number_bytes;
  for (std::int64_t done = 0; done < kBytes; done += piece) {
    const std::int64_t number = (index * kBytes + done) / element;
    const std::int64_t byte = (index * kBytes + done) % element;
    std::int64_t taps = number % plan.taps;
    std::int64_t windows = number / plan.taps;
    std::int64_t from = byte;
    bool inside = true;
    for (int axis = layout.rank - 1; axis >= 0; --axis) {
      const GridAxis& grid = layout.axes[axis].grid;
      const std::int64_t position =
          window_start(grid, windows % grid.count) + taps % grid.size * grid.dilation;
      const std::int64_t source = source_position(grid.length, layout.pad_mode, position);
      taps /= grid.size;
      windows /= grid.count;
      inside = inside && source != kNoSource;
      from += source * layout.axes[axis].data_stride;
    }
    from += windows * layout.data_batch_stride;
    for (std::int64_t i = 0; i < piece; ++i) {
      to[done + i] =
          inside ? plan.data[from + i] : static_cast<char>(plan.pad.bytes[(byte + i) % kMaxUnit]);
    }
  }
}

// The whole thread: units first, first + step, ... , kExtractUnits of them.
template <int kBytes, class Index>
TOKFRAG_HOST_DEVICE inline void extract_units(const DeviceExtractPlan<Index>& plan, Index first,
                                              Index step) {
  Unit<kBytes> units[kExtractUnits];
  ExtractPlace<Index> places[kExtractUnits];
  bool all_whole = true;
  TOKFRAG_UNROLL
  for (int u = 0; u < kExtractUnits; ++u) {
    const Index index = first + static_cast<Index>(u) * step;
    places[u].whole = false;
    if (index >= plan.units) continue;
    places[u] = find_place(plan, index);
    all_whole = all_whole && places[u].whole;
    if (places[u].whole) {
      units[u] = load_unit<kBytes>(plan.data + static_cast<std::int64_t>(places[u].from) * kBytes);
    }
  }
  TOKFRAG_UNROLL
  for (int u = 0; u < kExtractUnits; ++u) {
    if (!places[u].whole) continue;
    const Index index = first + static_cast<Index>(u) * step;
    stream_unit(plan.fragments + static_cast<std::int64_t>(index) * kBytes, units[u]);
  }
  if (all_whole) return;
  TOKFRAG_NO_UNROLL
  for (int u = 0; u < kExtractUnits; ++u) {
    const Index index = first + static_cast<Index>(u) * step;
    if (index >= plan.units) break;
    const ExtractPlace<Index> place = find_place(plan, index);
    if (place.whole) continue;
    char* to = plan.fragments + static_cast<std::int64_t>(index) * kBytes;
    compose_unit<kBytes>(plan, to, static_cast<std::int64_t>(index));
  }
}

// The same layout, its innermost axis counted in single numbers where positions of several lie side
// by side and none is padded: rows of channels-last pixels are then moved as what they are, bytes.
GridLayout counted_in_numbers(const GridLayout& layout);

// The largest unit that this layout and these arrays allow. `layout` must not be empty, and
// fragments contiguous.
int extract_unit(const GridLayout& layout, const void* data, const void* fragments);

// True if 32-bit numbers count the units and all they are made of.
bool extract_is_narrow(const GridLayout& layout, int unit);

// `pad_value`: `layout.item` bytes.
template <class Index>
DeviceExtractPlan<Index> make_extract_plan(const GridLayout& layout, int unit, const void* data,
                                           void* fragments, const void* pad_value);

extern template DeviceExtractPlan<std::uint32_t> make_extract_plan(const GridLayout&, int,
                                                                   const void*, void*, const void*);
extern template DeviceExtractPlan<std::uint64_t> make_extract_plan(const GridLayout&, int,
                                                                   const void*, void*, const void*);

}  // namespace tokfrag
