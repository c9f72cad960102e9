// How extract changes numbers on their way: another type, times a scale and plus a shift a channel.
//
//   out = narrowed(float(x) * scale[channel] + shift[channel]), each step rounded
//
// in float, or in double where x is a double or an integer of 32 bits or more.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag {

// Numbers that are converted together; they stay in the first cache.
constexpr std::int64_t kConversionBlock = 512;

// One number a channel; empty: there is nothing to multiply by, or to add.
template <class Real>
struct ChannelNumbers {
  std::vector<Real> scale, shift;
};

struct Conversion {
  Dtype type, out_type;  // out_type: no bool, no 64-bit integer; of doubles no half
  std::int64_t item;     // bytes of a number of `type`
  std::int64_t channels;
  // Channels side by side: the numbers of a row go through all channels, again and again, and
  // those above are repeated so that kConversionBlock can be read from any channel on.
  bool cyclic;
  ChannelNumbers<float> narrow;
  ChannelNumbers<double> wide;
};

bool converts_in_double(Dtype type);

struct ConversionKernels {
  // Converts `count` numbers `step` bytes apart into a contiguous row. `channel`: of all of them;
  // if cyclic, of the first.
  void (*convert)(const Conversion& conversion, const char* from, std::int64_t step,
                  std::int64_t count, std::int64_t channel, char* to);
};

TOKFRAG_ISA_TABLE(ConversionKernels, conversion_kernel_table, conversion_kernels)

}  // namespace tokfrag
