// The numbers merge reads and writes, as doubles. For *_kernel.cpp files only: everything here
// lives in an unnamed namespace of one instruction set.
#pragma once

#include <cstdint>
#include <cstring>

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "a cast of bits keeps the size");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// IEEE half precision, converted by integer arithmetic that vectorises on every machine.
struct Half {
  std::uint16_t bits;

  float widened() const {
    const std::uint32_t shifted = static_cast<std::uint32_t>(bits & 0x7fffu) << 13;
    // Read as a float, `shifted` is the value times 2^-112, also for subnormals.
    const float finite = bits_as<float>(shifted) * 0x1p112f;
    const std::uint32_t special = shifted | 0x7f800000u;
    const std::uint32_t magnitude =
        shifted >= 0x0f800000u ? special : bits_as<std::uint32_t>(finite);
    return bits_as<float>(magnitude | (static_cast<std::uint32_t>(bits & 0x8000u) << 16));
  }

  static Half narrowed(float value) {
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
    return {static_cast<std::uint16_t>(nan ? 0x7e00u : result | sign)};
  }
};

struct BFloat {
  std::uint16_t bits;

  float widened() const { return bits_as<float>(static_cast<std::uint32_t>(bits) << 16); }

  static BFloat narrowed(float value) {
    const std::uint32_t all = bits_as<std::uint32_t>(value);
    const std::uint32_t rounded = (all + 0x7fffu + ((all >> 16) & 1u)) >> 16;
    const std::uint32_t result = (all & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded;
    return {static_cast<std::uint16_t>(result)};
  }
};

inline double widen(Half value) { return static_cast<double>(value.widened()); }
inline double widen(BFloat value) { return static_cast<double>(value.widened()); }
template <class T>
inline double widen(T value) {
  return static_cast<double>(value);
}

inline void narrow(double value, Half& to) { to = Half::narrowed(static_cast<float>(value)); }
inline void narrow(double value, BFloat& to) { to = BFloat::narrowed(static_cast<float>(value)); }
inline void narrow(double value, float& to) { to = static_cast<float>(value); }
inline void narrow(double value, double& to) { to = value; }

// Integers of at most 32 bits; wider ones never come here.
template <class T>
inline void narrow(double value, T& to) {
  constexpr bool is_signed = static_cast<T>(-1) < static_cast<T>(0);
  constexpr int bits = 8 * static_cast<int>(sizeof(T)) - (is_signed ? 1 : 0);
  constexpr double high =
      static_cast<double>(bits > 32 ? 0 : (std::uint64_t{1} << (bits % 64)) - 1);
  constexpr double low = is_signed ? -high - 1 : 0;
  // Adding and taking away 1.5 * 2^52 rounds to nearest even, below 2^51.
  double inside = value < low ? low : value;
  inside = inside > high ? high : inside;
  constexpr double kRound = 6755399441055744.0;
  to = static_cast<T>((inside + kRound) - kRound);
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
