// The 16-bit floating types, as bits, and their conversions: exact up; down to nearest, ties to
// even, every NaN the quiet one. Integer arithmetic without branches, so loops of it vectorise.
//
// Functions have internal linkage: files compiled once an instruction set, and CUDA, include this.
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

template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "a cast of bits keeps the size");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }

inline float widen(BFloat16 value) {
  return bits_as<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

inline float widen(Half value) {
  const std::uint32_t shifted = static_cast<std::uint32_t>(value.bits & 0x7fffu) << 13;
  // Read as a float, `shifted` is the value times 2^-112, also for subnormals.
  const float finite = bits_as<float>(shifted) * 0x1p112f;
  const std::uint32_t special = shifted | 0x7f800000u;
  const std::uint32_t magnitude = shifted >= 0x0f800000u ? special : bits_as<std::uint32_t>(finite);
  return bits_as<float>(magnitude | (static_cast<std::uint32_t>(value.bits & 0x8000u) << 16));
}

inline void narrow(float value, float& to) { to = value; }
inline void narrow(float value, double& to) { to = static_cast<double>(value); }

inline void narrow(float value, BFloat16& to) {
  const std::uint32_t all = bits_as<std::uint32_t>(value);
  const std::uint32_t rounded = (all + 0x7fffu + ((all >> 16) & 1u)) >> 16;
  const std::uint32_t result = (all & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded;
  to.bits = static_cast<std::uint16_t>(result);
}

inline void narrow(float value, Half& to) {
  const std::uint32_t all = bits_as<std::uint32_t>(value);
  const std::uint32_t sign = (all >> 16) & 0x8000u;
  const std::uint32_t magnitude = all & 0x7fffffffu;
  // Normal results: round to nearest even by adding just under half of the last place.
  const std::uint32_t odd = (magnitude >> 13) & 1u;
  const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
  // Below 2^-14: adding 0.5 makes the float's own rounding the half's.
  const float shifted = bits_as<float>(magnitude) + 0.5f;
  const std::uint32_t subnormal = bits_as<std::uint32_t>(shifted) - 0x3f000000u;
  std::uint32_t result = magnitude < 0x38800000u ? subnormal : normal;
  result = magnitude >= 0x477ff000u ? 0x7c00u : result;  // 65520 and more
  const bool nan = magnitude > 0x7f800000u;
  to.bits = static_cast<std::uint16_t>(nan ? 0x7e00u : result | sign);
}

inline void narrow(double value, double& to) { to = value; }
inline void narrow(double value, float& to) { to = static_cast<float>(value); }
inline void narrow(double value, BFloat16& to) { narrow(static_cast<float>(value), to); }
inline void narrow(double value, Half& to) { narrow(static_cast<float>(value), to); }

}  // namespace

}  // namespace tokfrag
