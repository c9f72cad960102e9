// The 16-bit floating types, as bits, and their conversions: exact up, round to nearest even down.
// Internal linkage throughout, for this is included by files compiled once an instruction set.
#pragma once

#include <cstdint>
#include <cstring>

namespace tokfrag {

struct Half {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

namespace {

inline float float_of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline std::uint32_t bits_of_float(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }

inline float widen(BFloat16 value) {
  return float_of_bits(static_cast<std::uint32_t>(value.bits) << 16);
}

inline float widen(Half value) {
  constexpr std::uint32_t kRebias = 112u << 23;
  const std::uint32_t sign = (static_cast<std::uint32_t>(value.bits) & 0x8000u) << 16;
  const std::uint32_t magnitude = (static_cast<std::uint32_t>(value.bits) & 0x7fffu) << 13;
  const std::uint32_t exponent = magnitude & (31u << 23);
  const std::uint32_t normal = magnitude + kRebias + (exponent == (31u << 23) ? kRebias : 0u);
  // A subnormal is its fraction times 2^-24: the subtraction of the hidden bit normalises it.
  const std::uint32_t subnormal =
      bits_of_float(float_of_bits(magnitude + (113u << 23)) - float_of_bits(113u << 23));
  return float_of_bits(sign | (exponent == 0 ? subnormal : normal));
}

inline void narrow(double value, double& out) { out = value; }
inline void narrow(double value, float& out) { out = static_cast<float>(value); }

inline void narrow(double value, BFloat16& out) {
  const std::uint32_t bits = bits_of_float(static_cast<float>(value));
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  out.bits = static_cast<std::uint16_t>(is_nan ? (bits >> 16) | 0x40u : rounded);
}

inline void narrow(double value, Half& out) {
  const std::uint32_t bits = bits_of_float(static_cast<float>(value));
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t result;
  if (magnitude > 0x7f800000u) {
    result = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {  // rounds to 65536 or more
    result = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // subnormal: the addition rounds at 2^-24
    result = bits_of_float(float_of_bits(magnitude) + 0.5f) - bits_of_float(0.5f);
  } else {
    result = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  out.bits = static_cast<std::uint16_t>(sign | result);
}

}  // namespace

}  // namespace tokfrag
