// A number as the sum of two floats, for devices that add floats at 32 to 64 times the rate of
// doubles: as precise as one float of some 45 bits, while nothing overflows or is lost at the lower
// end (Ogita, Rump and Oishi, "Accurate sum and dot product", 2005).
//
// `high` is what floats alone would give, infinities and NaN too; `low` is what that has lost, and
// means nothing where `high` is not finite. The two are not normalised: `low` may be some rounding
// errors of `high` in size.
#pragma once

#include "core/cuda.hpp"

namespace tokfrag {

struct alignas(8) Pair {
  float high;
  float low;
};

TOKFRAG_HOST_DEVICE inline float fused(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}

// Knuth's two-sum: the new `high` and what it lost make the old `high` and the number.
TOKFRAG_HOST_DEVICE inline Pair operator+(Pair a, float b) {
  const float sum = a.high + b;
  const float taken = sum - a.high;
  return {sum, a.low + ((a.high - (sum - taken)) + (b - taken))};
}

TOKFRAG_HOST_DEVICE inline Pair operator+(Pair a, Pair b) {
  const Pair sum = a + b.high;
  return {sum.high, sum.low + b.low};
}

TOKFRAG_HOST_DEVICE inline Pair operator*(Pair a, float b) {
  const float product = a.high * b;
  return {product, fused(a.low, b, fused(a.high, b, -product))};
}

TOKFRAG_HOST_DEVICE inline Pair operator*(Pair a, Pair b) {
  const float product = a.high * b.high;
  return {product, fused(a.low, b.high, fused(a.high, b.low, fused(a.high, b.high, -product)))};
}

// The nearest float.
TOKFRAG_HOST_DEVICE inline float rounded(Pair number) {
  const float sum = number.high + number.low;
  // 0 is left out: it would turn -0 into 0.
  return number.low != 0 && number.low - number.low == 0 ? sum : number.high;
}

TOKFRAG_HOST_DEVICE inline Pair pair_of(double number) {
  const auto high = static_cast<float>(number);
  return {high, static_cast<float>(number - static_cast<double>(high))};
}

}  // namespace tokfrag
