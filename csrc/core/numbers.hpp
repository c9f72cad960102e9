// Numbers of every element type as float or double, and back: to nearest, ties to even, integers
// saturated. Shared by the CPU kernels and the CUDA ones.
//
// Functions have internal linkage: files compiled once an instruction set, and CUDA, include this.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/cuda.hpp"
#include "core/half.hpp"

namespace tokfrag {

template <class T>
constexpr bool kIsHalf = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

// A bool, whose byte may be any.
struct Truth {
  std::uint8_t byte;
};

namespace {

// The number as a float or a double: exact, but for integers too wide for it.
template <class Real, class T>
[[gnu::always_inline]] inline Real real_of(T number) {
  if constexpr (std::is_same_v<T, Truth>) {
    return number.byte != 0 ? Real{1} : Real{0};
  } else if constexpr (kIsHalf<T>) {
    return static_cast<Real>(widen(number));
  } else {
    return static_cast<Real>(number);
  }
}

// The nearest integer of at most 32 bits; 0 for what is no number.
template <class T>
TOKFRAG_HOST_DEVICE inline T integer_of(double value) {
  static_assert(std::is_integral_v<T> && sizeof(T) <= 4, "wider integers are not summed");
  constexpr bool is_signed = std::is_signed_v<T>;
  constexpr double high =
      static_cast<double>((std::uint64_t{1} << (8 * sizeof(T) - (is_signed ? 1 : 0))) - 1);
  constexpr double low = is_signed ? -high - 1 : 0;
  // Adding and taking away 1.5 * 2^52 rounds to nearest even, below 2^51.
  constexpr double kRound = 6755399441055744.0;
  double inside = value < low ? low : value;
  inside = inside > high ? high : inside;
  inside = inside == inside ? inside : 0;  // infinities that met
  return static_cast<T>((inside + kRound) - kRound);
}

// Halves are rounded through float32.
template <class Real, class T>
[[gnu::always_inline]] inline void put_number(Real value, T& to) {
  if constexpr (std::is_integral_v<T>) {
    to = integer_of<T>(static_cast<double>(value));
  } else {
    narrow(value, to);
  }
}

}  // namespace

}  // namespace tokfrag
