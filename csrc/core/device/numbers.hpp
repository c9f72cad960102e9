// Numbers as CUDA threads read, add up and write them. Half and bfloat16 are added as float, all
// else as double, as precise as the CPU kernels or (all but the halves) bit for bit the same.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/cuda.hpp"
#include "core/numbers.hpp"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace tokfrag {

// Sums of wider integers would not be exact in double: there is only their maximum.
template <class T>
constexpr bool kIsSummed = !std::is_integral_v<T> || sizeof(T) <= 4;

template <class T>
using AccumulatorOf = std::conditional_t<kIsHalf<T>, float, double>;

template <class T>
TOKFRAG_HOST_DEVICE inline AccumulatorOf<T> value_of(T number) {
  if constexpr (kIsHalf<T>) {
#if defined(__CUDA_ARCH__)
    if constexpr (std::is_same_v<T, Half>) {
      return __half2float(__ushort_as_half(number.bits));
    } else {
      return __bfloat162float(__ushort_as_bfloat16(number.bits));
    }
#else
    return widen(number);
#endif
  } else {
    return static_cast<double>(number);
  }
}

template <class T>
TOKFRAG_HOST_DEVICE inline bool exceeds(T a, T b) {
  if constexpr (kIsHalf<T>) {
    return value_of(a) > value_of(b);
  } else {
    return a > b;
  }
}

template <class T>
TOKFRAG_HOST_DEVICE inline bool is_no_number(T number) {
  if constexpr (kIsHalf<T>) {
    return value_of(number) != value_of(number);
  } else {
    return number != number;
  }
}

// Rounds to nearest even: floating types once from their accumulator (float32 and float64 from
// double); integers saturated, of at most 32 bits.
template <class T>
TOKFRAG_HOST_DEVICE inline T number_of(AccumulatorOf<T> value) {
  T number;
  if constexpr (kIsHalf<T>) {
#if defined(__CUDA_ARCH__)
    if constexpr (std::is_same_v<T, Half>) {
      number.bits = __half_as_ushort(__float2half_rn(value));
    } else {
      number.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
    }
#else
    narrow(static_cast<double>(value), number);
#endif
  } else if constexpr (std::is_floating_point_v<T>) {
    number = static_cast<T>(value);
  } else {
    number = integer_of<T>(value);
  }
  return number;
}

}  // namespace tokfrag
