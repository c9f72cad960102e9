// extract with a scale and a shift a channel, and a cast, on a GPU: what one thread does.
//
//   out = narrowed(float(x) * scale[channel] + shift[channel]), each step rounded
//
// As extract/device.hpp, but what is read as one type is written as another.
#pragma once

#include <cstdint>

#include "core/device/numbers.hpp"
#include "fragments/extract/device.hpp"

namespace tokfrag {

// Kernel parameters hold so many; more channels are done by torch.
constexpr int kMostChangedChannels = 64;

// What happens to the numbers of a channel; without a scale or a shift nothing is multiplied or
// added. One number stands for all channels.
struct ChannelChange {
  bool scales;
  bool shifts;
  std::uint32_t channels;  // of the numbers here: 1, or one a channel
  float scale[kMostChangedChannels];
  float shift[kMostChangedChannels];
};

struct DeviceChangedPlan {
  DeviceExtractPlan<std::uint32_t> cut;
  ChannelChange change;
  // Fragments are (..., channels, below): numbers below a channel, then channels.
  Divisor<std::uint32_t> below;
  Divisor<std::uint32_t> channels;
};

template <class In, class Out>
TOKFRAG_HOST_DEVICE inline Out changed(const ChannelChange& change, std::uint32_t channel,
                                       In number) {
  float value;
  if constexpr (kIsHalf<In>) {
    value = value_of(number);
  } else {
    value = static_cast<float>(number);
  }
  if (change.scales) value = value * change.scale[channel];
  if (change.shifts) value = value + change.shift[channel];
  if constexpr (kIsHalf<Out>) {
    return number_of<Out>(value);
  } else {
    return value;
  }
}

// The whole thread: units first, first + step, ... , kExtractUnits of them.
template <class In, class Out, int kNumbers>
TOKFRAG_HOST_DEVICE inline void extract_changed(const DeviceChangedPlan& plan, std::uint32_t first,
                                                std::uint32_t step) {
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(In));
  constexpr int kOutBytes = kNumbers * static_cast<int>(sizeof(Out));
  Unit<kBytes> units[kExtractUnits];
  bool whole[kExtractUnits];
  TOKFRAG_UNROLL
  for (int u = 0; u < kExtractUnits; ++u) {
    const std::uint32_t index = first + static_cast<std::uint32_t>(u) * step;
    whole[u] = false;
    if (index >= plan.cut.units) continue;
    const ExtractPlace<std::uint32_t> place = find_place(plan.cut, index);
    whole[u] = place.whole;
    if (place.whole) {
      units[u] = load_unit<kBytes>(plan.cut.data + static_cast<std::int64_t>(place.from) * kBytes);
    }
  }
  TOKFRAG_UNROLL
  for (int u = 0; u < kExtractUnits; ++u) {
    const std::uint32_t index = first + static_cast<std::uint32_t>(u) * step;
    if (index >= plan.cut.units) continue;
    In numbers[kNumbers];
    if (whole[u]) {
      std::memcpy(numbers, &units[u], kBytes);
    } else {
      compose_unit<kBytes>(plan.cut, reinterpret_cast<char*>(numbers),
                           static_cast<std::int64_t>(index));
    }
    Out made[kNumbers];
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) {
      std::uint32_t channel = 0;
      if (plan.change.channels > 1) {
        std::uint32_t rest = plan.below.quotient(index * kNumbers + static_cast<std::uint32_t>(i));
        channel = take_digit(rest, plan.channels);
      }
      made[i] = changed<In, Out>(plan.change, channel, numbers[i]);
    }
    Unit<kOutBytes> unit;
    std::memcpy(&unit, made, kOutBytes);
    stream_unit<kOutBytes>(plan.cut.fragments + static_cast<std::int64_t>(index) * kOutBytes, unit);
  }
}

constexpr int kChangedWide = 4;  // numbers of a wide unit

// How many numbers a unit may hold, kChangedWide or 1; 0 if 32-bit indices do not hold them all.
// `layout` is that of the numbers read, not empty; `out_item` bytes a number take in `fragments`.
int changed_numbers(const GridLayout& layout, std::int64_t out_item, const void* data,
                    const void* fragments);

// `pad_value`: one number as it is read.
DeviceChangedPlan make_changed_plan(const GridLayout& layout, const ChannelChange& change,
                                    std::int64_t channels, std::int64_t below, int numbers,
                                    const void* data, void* fragments, const void* pad_value);

}  // namespace tokfrag
