// extract on a GPU where no window is moved and none reaches beyond an axis: what one thread does.
//
// The place of a unit is then a sum: each digit of its number (taps, windows, the batch entry)
// times a stride. Digits that count on from one another are one; of the outermost a thread takes
// four values, which have all the others in common, so that a place is found once for four units.
#pragma once

#include <cstdint>

#include "core/device/divide.hpp"
#include "core/device/units.hpp"
#include "fragments/extract/device.hpp"
#include "fragments/grid/layout.hpp"

namespace tokfrag {

constexpr int kMostDigits = 2 * kMaxLayoutAxes + 1;

struct AffineDigit {
  Divisor<std::uint32_t> count;
  std::uint32_t stride;  // units, in the data
};

struct DeviceAffinePlan {
  int digits;                      // but the outermost
  std::uint32_t inner;             // units that one value of the outermost digit spans
  std::uint32_t outer;             // how many values it has
  std::uint32_t outer_step;        // between those that a thread takes
  std::uint32_t outer_stride;      // units, in the data
  AffineDigit digit[kMostDigits];  // innermost first
  const char* data;
  char* fragments;

  std::int64_t threads() const { return std::int64_t{inner} * outer_step; }
};

// The whole thread of number `index`, which is below plan.threads().
template <int kBytes>
TOKFRAG_HOST_DEVICE inline void extract_affine(const DeviceAffinePlan& plan, std::uint32_t index) {
  std::uint32_t rest = index;
  std::uint32_t from = 0;
  TOKFRAG_UNROLL
  for (int i = 0; i < kMostDigits; ++i) {
    if (i < plan.digits) from += take_digit(rest, plan.digit[i].count) * plan.digit[i].stride;
  }
  Unit<kBytes> units[kExtractUnits];
  TOKFRAG_UNROLL
  for (int u = 0; u < kExtractUnits; ++u) {
    const std::uint32_t outer = rest + static_cast<std::uint32_t>(u) * plan.outer_step;
    if (outer >= plan.outer) continue;
    const std::uint32_t at = from + outer * plan.outer_stride;
    units[u] = load_unit<kBytes>(plan.data + static_cast<std::int64_t>(at) * kBytes);
  }
  TOKFRAG_UNROLL
  for (int u = 0; u < kExtractUnits; ++u) {
    const std::uint32_t step = static_cast<std::uint32_t>(u) * plan.outer_step;
    if (rest + step >= plan.outer) continue;
    const std::uint32_t to = index + step * plan.inner;
    stream_unit(plan.fragments + static_cast<std::int64_t>(to) * kBytes, units[u]);
  }
}

// True if places are such sums. `unit`: what extract_unit allows.
bool extract_is_affine(const GridLayout& layout, int unit);

DeviceAffinePlan make_affine_plan(const GridLayout& layout, int unit, const void* data,
                                  void* fragments);

}  // namespace tokfrag
