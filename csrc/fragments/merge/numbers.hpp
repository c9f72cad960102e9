// The numbers merge reads and writes, as doubles. For *_kernel.cpp files only: everything here
// lives in an unnamed namespace of one instruction set.
#pragma once

#include <cstdint>

#include "core/half.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

inline double as_double(Half value) { return static_cast<double>(widen(value)); }
inline double as_double(BFloat16 value) { return static_cast<double>(widen(value)); }
template <class T>
inline double as_double(T value) {
  return static_cast<double>(value);
}

inline void store_number(double value, Half& to) { narrow(value, to); }
inline void store_number(double value, BFloat16& to) { narrow(value, to); }
inline void store_number(double value, float& to) { narrow(value, to); }
inline void store_number(double value, double& to) { narrow(value, to); }

// Integers of at most 32 bits; wider ones never come here.
template <class T>
inline void store_number(double value, T& to) {
  constexpr bool is_signed = static_cast<T>(-1) < static_cast<T>(0);
  constexpr int bits = 8 * static_cast<int>(sizeof(T)) - (is_signed ? 1 : 0);
  constexpr double high =
      static_cast<double>(bits > 32 ? 0 : (std::uint64_t{1} << (bits % 64)) - 1);
  constexpr double low = is_signed ? -high - 1 : 0;
  // Adding and taking away 1.5 * 2^52 rounds to nearest even, below 2^51.
  double inside = value < low ? low : value;
  inside = inside > high ? high : inside;
  inside = inside == inside ? inside : 0;  // infinities that met
  constexpr double kRound = 6755399441055744.0;
  to = static_cast<T>((inside + kRound) - kRound);
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
