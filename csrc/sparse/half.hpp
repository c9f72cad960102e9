// Half and bfloat16 to float and back: branch-free integer arithmetic that vectorises everywhere.
// Rounds to nearest, ties to even; keeps infinities and NaN. Included by kernel files only, inside
// an anonymous namespace of their instruction set.
struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

inline float as_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline std::uint32_t as_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float widened(float value) { return value; }
inline double widened(double value) { return value; }
inline float widened(BFloat16 value) { return as_float(std::uint32_t{value.bits} << 16); }
inline float widened(Float16 value) {
  const std::uint32_t magnitude = value.bits & 0x7fffu;
  const std::uint32_t sign = (value.bits & 0x8000u) << 16;
  // Scaling by 2^112 moves the exponent to float's bias and normalises subnormals exactly.
  const std::uint32_t finite = as_bits(as_float(magnitude << 13) * as_float(0x77800000u));
  const std::uint32_t special = (magnitude << 13) | 0x7f800000u;
  return as_float(sign | (magnitude >= 0x7c00u ? special : finite));
}

template <class E>
E narrowed(float value);
template <class E>
E narrowed(double value);

template <>
inline float narrowed<float>(float value) {
  return value;
}
template <>
inline double narrowed<double>(double value) {
  return value;
}
template <>
inline BFloat16 narrowed<BFloat16>(float value) {
  const std::uint32_t bits = as_bits(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<std::uint16_t>(nan ? (bits >> 16) | 0x40u : rounded)};
}
template <>
inline Float16 narrowed<Float16>(float value) {
  const std::uint32_t bits = as_bits(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Adding 0.5 aligns a subnormal half's last bit with a float's last bit, rounding as it goes.
  const std::uint32_t tiny = as_bits(as_float(magnitude) + 0.5f) - 0x3f000000u;
  const std::uint32_t nan = 0x7e00u;
  const std::uint32_t finite = magnitude < 0x38800000u ? tiny : normal;
  const std::uint32_t large = magnitude > 0x7f800000u ? nan : 0x7c00u;
  return {static_cast<std::uint16_t>(sign | (magnitude >= 0x477ff000u ? large : finite))};
}
