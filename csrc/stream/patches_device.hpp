// patchify (patches.hpp) on a GPU: what one thread does, and the plan that the host makes.
//
// A thread makes units of the output: up to 16 bytes, values side by side inside one patch. It
// finds the place of the first by a few divisions by known numbers; the others follow along the
// innermost axis of the patch, and where a row ends in the unit, from the next row on. Bytes are
// divided as the CPU's lanes divide them where that gives what a division gives, for all 256: the
// host tries.
#pragma once

#include <cstdint>
#include <vector>

#include "core/device/divide.hpp"
#include "core/device/numbers.hpp"
#include "core/device/units.hpp"
#include "stream/patches.hpp"

namespace tokfrag {

constexpr int kPatchUnits = 2;          // a thread's, all read before the first is written
constexpr int kLaunchItems = 32;        // images of one launch: kernel parameters hold so many
constexpr int kMostPatchChannels = 16;  // more are done by torch
constexpr int kPatchAxes = 4;           // frame, row, column, channel

struct DevicePatchItem {
  const char* data;
  std::int64_t strides[kPatchAxes];  // in bytes
  std::uint32_t first_unit;          // among those of the launch
  std::uint32_t last_frame;
  Divisor<std::uint32_t> across;  // groups a row of groups
  Divisor<std::uint32_t> down;    // rows of groups
};

struct DevicePatchPlan {
  int items;
  std::uint32_t units;
  Divisor<std::uint32_t> per_patch;  // units a patch
  Divisor<std::uint32_t> merge;
  Divisor<std::uint32_t> sizes[kPatchAxes];  // of a patch's axes, innermost first
  int axes[kPatchAxes];                      // which these are: 0 the frame, ..., 3 the channel
  std::uint32_t extent[3];                   // frames, rows and columns of a patch
  PatchFormula formula;                      // no kTable
  bool fused;                                // bytes are divided by multiplication
  float scale[kMostPatchChannels];
  float shift[kMostPatchChannels];
  float inverse[kMostPatchChannels];  // 1 / scale
  char* out;
  DevicePatchItem item[kLaunchItems];
};

// a / by, for bytes and what they are after a shift: correctly rounded but for rare divisors, which
// bytes_divide_exactly finds. inverse = 1 / by.
TOKFRAG_HOST_DEVICE inline float fused_quotient(float a, float by, float inverse) {
  const float quotient = a * inverse;
  const float rest = __builtin_fmaf(-quotient, by, a);
  return __builtin_fmaf(rest, inverse, quotient);
}

TOKFRAG_HOST_DEVICE inline float patch_value(const DevicePatchPlan& plan, std::uint32_t channel,
                                             bool fused, float x) {
  const float scale = plan.scale[channel];
  const float shift = plan.shift[channel];
  if (plan.formula == PatchFormula::kLinear) {
    const float product = x * scale;
    return product + shift;
  }
  if (plan.formula == PatchFormula::kShares) {
    x = fused ? fused_quotient(x, 255.0f, 1.0f / 255.0f) : x / 255.0f;
  }
  const float above = x - shift;
  return fused ? fused_quotient(above, scale, plan.inverse[channel]) : above / scale;
}

// Where a value of a patch comes from, and its channel.
struct PatchPlace {
  std::int64_t from;  // bytes
  std::uint32_t channel;
  std::uint32_t along;  // its place on the innermost axis of the patch
};

// A patch inside its item.
struct PatchCorner {
  std::uint32_t frame, row, column;
};

TOKFRAG_HOST_DEVICE inline PatchCorner find_corner(const DevicePatchPlan& plan,
                                                   const DevicePatchItem& item,
                                                   std::uint32_t patch) {
  const std::uint32_t column = take_digit(patch, plan.merge);
  const std::uint32_t row = take_digit(patch, plan.merge);
  const std::uint32_t group_column = take_digit(patch, item.across);
  const std::uint32_t group_row = take_digit(patch, item.down);
  return {patch * plan.extent[0], (group_row * plan.merge.value + row) * plan.extent[1],
          (group_column * plan.merge.value + column) * plan.extent[2]};
}

TOKFRAG_HOST_DEVICE inline PatchPlace find_value(const DevicePatchPlan& plan,
                                                 const DevicePatchItem& item,
                                                 const PatchCorner& corner, std::uint32_t value) {
  std::uint32_t at[kPatchAxes] = {corner.frame, corner.row, corner.column, 0};
  PatchPlace place{};
  TOKFRAG_UNROLL
  for (int axis = 0; axis < kPatchAxes; ++axis) {
    const std::uint32_t digit = axis + 1 < kPatchAxes ? take_digit(value, plan.sizes[axis]) : value;
    if (axis == 0) place.along = digit;
    TOKFRAG_UNROLL
    for (int which = 0; which < kPatchAxes; ++which) {
      at[which] += plan.axes[axis] == which ? digit : 0;
    }
  }
  at[0] = at[0] < item.last_frame ? at[0] : item.last_frame;
  place.channel = at[3];
  TOKFRAG_UNROLL
  for (int which = 0; which < kPatchAxes; ++which) {
    place.from += static_cast<std::int64_t>(at[which]) * item.strides[which];
  }
  return place;
}

// The image that a unit belongs to: the last that begins at or before it.
TOKFRAG_HOST_DEVICE inline int find_item(const DevicePatchPlan& plan, std::uint32_t unit) {
  int first = 0;
  TOKFRAG_UNROLL
  for (int step = kLaunchItems / 2; step > 0; step /= 2) {
    const int next = first + step;
    if (next < plan.items && plan.item[next].first_unit <= unit) first = next;
  }
  return first;
}

// The values of the unit, as they lie in the image; and their channels.
template <class In, int kValues>
TOKFRAG_HOST_DEVICE inline void load_values(const DevicePatchPlan& plan, std::uint32_t unit,
                                            In* values, std::uint32_t* channels) {
  const DevicePatchItem& item = plan.item[find_item(plan, unit)];
  std::uint32_t patch = unit - item.first_unit;
  const std::uint32_t first = take_digit(patch, plan.per_patch) * kValues;
  const PatchCorner corner = find_corner(plan, item, patch);
  const PatchPlace place = find_value(plan, item, corner, first);
  // A frame past the last is the last again: frames are no axis to step along.
  const std::uint32_t length = plan.axes[0] == 0 ? 1 : plan.sizes[0].value;
  const std::int64_t step = item.strides[plan.axes[0]];
  const bool by_channel = plan.axes[0] == 3;
  if (length >= kValues) {
    PatchPlace next = place;
    const std::uint32_t held = length - place.along;
    if (held < kValues) next = find_value(plan, item, corner, first + held);
    TOKFRAG_UNROLL
    for (int i = 0; i < kValues; ++i) {
      const auto number = static_cast<std::uint32_t>(i);
      const bool here = number < held;
      const std::uint32_t past = here ? number : number - held;
      const std::int64_t from = (here ? place.from : next.from) + past * step;
      channels[i] = (here ? place.channel : next.channel) + (by_channel ? past : 0);
      const auto loaded = load_unit<static_cast<int>(sizeof(In))>(item.data + from);
      std::memcpy(&values[i], &loaded, sizeof(In));
    }
    return;
  }
  TOKFRAG_UNROLL
  for (int i = 0; i < kValues; ++i) {
    const PatchPlace own = find_value(plan, item, corner, first + static_cast<std::uint32_t>(i));
    channels[i] = own.channel;
    const auto loaded = load_unit<static_cast<int>(sizeof(In))>(item.data + own.from);
    std::memcpy(&values[i], &loaded, sizeof(In));
  }
}

// The whole thread: units first, first + step, ... , kPatchUnits of them.
template <class In, class Out, int kValues>
TOKFRAG_HOST_DEVICE inline void patch_units(const DevicePatchPlan& plan, std::uint32_t first,
                                            std::uint32_t step) {
  constexpr int kBytes = kValues * static_cast<int>(sizeof(Out));
  In values[kPatchUnits][kValues];
  std::uint32_t channels[kPatchUnits][kValues];
  TOKFRAG_UNROLL
  for (int u = 0; u < kPatchUnits; ++u) {
    const std::uint32_t unit = first + static_cast<std::uint32_t>(u) * step;
    if (unit < plan.units) load_values<In, kValues>(plan, unit, values[u], channels[u]);
  }
  TOKFRAG_UNROLL
  for (int u = 0; u < kPatchUnits; ++u) {
    const std::uint32_t unit = first + static_cast<std::uint32_t>(u) * step;
    if (unit >= plan.units) continue;
    Out made[kValues];
    TOKFRAG_UNROLL
    for (int i = 0; i < kValues; ++i) {
      const bool fused = std::is_same_v<In, std::uint8_t> && plan.fused;
      const float value =
          patch_value(plan, channels[u][i], fused, static_cast<float>(values[u][i]));
      if constexpr (kIsHalf<Out>) {
        made[i] = number_of<Out>(value);
      } else {
        made[i] = static_cast<Out>(value);
      }
    }
    Unit<kBytes> whole;
    std::memcpy(&whole, made, kBytes);
    stream_unit<kBytes>(plan.out + static_cast<std::int64_t>(unit) * kBytes, whole);
  }
}

// Values of a unit: 8, 4 or 1, of at most 16 bytes.
int patch_values(const PatchTask& task);

// The launches of a task, of at most kLaunchItems images each. Throws CudaError if an image has
// more units than 32 bits count. Addresses are the device's, scale and shift the host's.
std::vector<DevicePatchPlan> make_patch_plans(const PatchTask& task, int values);

}  // namespace tokfrag
