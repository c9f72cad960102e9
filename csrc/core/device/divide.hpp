// Division by a number known when the kernel starts: a multiplication and a shift for 32-bit
// indices (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994),
// plain division for 64-bit ones.
#pragma once

#include <cstdint>

#include "core/cuda.hpp"

namespace tokfrag {

// Dividends and divisors of 32-bit indices lie below this.
constexpr std::int64_t kNarrowLimit = std::int64_t{1} << 31;

template <class Index>
struct Divisor;

template <>
struct Divisor<std::uint32_t> {
  std::uint32_t value;
  std::uint32_t magic;
  std::uint32_t shift;

  TOKFRAG_HOST_DEVICE std::uint32_t quotient(std::uint32_t dividend) const {
#if defined(__CUDA_ARCH__)
    const std::uint32_t high = __umulhi(dividend, magic);
#else
    const auto high = static_cast<std::uint32_t>((std::uint64_t{dividend} * magic) >> 32);
#endif
    return (high + dividend) >> shift;
  }
};

template <>
struct Divisor<std::uint64_t> {
  std::uint64_t value;

  TOKFRAG_HOST_DEVICE std::uint64_t quotient(std::uint64_t dividend) const {
    return dividend / value;
  }
};

inline void set_divisor(Divisor<std::uint64_t>& divisor, std::int64_t value) {
  divisor.value = static_cast<std::uint64_t>(value);
}

inline void set_divisor(Divisor<std::uint32_t>& divisor, std::int64_t value) {
  std::uint32_t shift = 0;
  while ((std::int64_t{1} << shift) < value) ++shift;
  const std::int64_t excess = (std::int64_t{1} << shift) - value;
  divisor.value = static_cast<std::uint32_t>(value);
  divisor.magic = static_cast<std::uint32_t>((excess << 32) / value + 1);
  divisor.shift = shift;
}

// Takes the lowest digit, in base `divisor`, off `rest`.
template <class Index>
TOKFRAG_HOST_DEVICE inline Index take_digit(Index& rest, const Divisor<Index>& divisor) {
  const Index above = divisor.quotient(rest);
  const Index digit = rest - above * divisor.value;
  rest = above;
  return digit;
}

}  // namespace tokfrag
