// Element types as doubles, for kernels: included by files compiled once an instruction set.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/half.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

struct Truth {  // a bool, whose byte may be any
  std::uint8_t byte;
};

template <class T>
[[gnu::always_inline]] inline double value_of(T value) {
  if constexpr (std::is_same_v<T, Truth>) {
    return value.byte != 0 ? 1.0 : 0.0;
  } else if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
    return static_cast<double>(widen(value));
  } else {
    return static_cast<double>(value);
  }
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
