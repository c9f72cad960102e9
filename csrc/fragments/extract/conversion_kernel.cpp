#include <algorithm>
#include <cstring>

#include "core/numbers.hpp"
#include "fragments/extract/conversion.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

template <class T, class Real>
void load_numbers(const char* from, std::int64_t step, std::int64_t count, Real* __restrict to) {
  if (step == static_cast<std::int64_t>(sizeof(T))) {  // side by side: in lanes
    T block[kConversionBlock];
    std::memcpy(block, from, static_cast<std::size_t>(count) * sizeof(T));
    for (std::int64_t i = 0; i < count; ++i) to[i] = real_of<Real>(block[i]);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    T number;
    std::memcpy(&number, from + i * step, sizeof(T));
    to[i] = real_of<Real>(number);
  }
}

template <class Real>
void load_any(Dtype type, const char* from, std::int64_t step, std::int64_t count, Real* to) {
  if constexpr (std::is_same_v<Real, double>) {
    switch (type) {
      case Dtype::kI32:
        return load_numbers<std::int32_t>(from, step, count, to);
      case Dtype::kI64:
        return load_numbers<std::int64_t>(from, step, count, to);
      default:
        return load_numbers<double>(from, step, count, to);
    }
  } else {
    switch (type) {
      case Dtype::kBool:
        return load_numbers<Truth>(from, step, count, to);
      case Dtype::kU8:
        return load_numbers<std::uint8_t>(from, step, count, to);
      case Dtype::kI8:
        return load_numbers<std::int8_t>(from, step, count, to);
      case Dtype::kI16:
        return load_numbers<std::int16_t>(from, step, count, to);
      case Dtype::kF16:
        return load_numbers<Half>(from, step, count, to);
      case Dtype::kBF16:
        return load_numbers<BFloat16>(from, step, count, to);
      default:
        return load_numbers<float>(from, step, count, to);
    }
  }
}

template <class T, class Real>
void store_numbers(const Real* __restrict from, std::int64_t count, char* to) {
  T block[kConversionBlock];
  for (std::int64_t i = 0; i < count; ++i) put_number(from[i], block[i]);
  std::memcpy(to, block, static_cast<std::size_t>(count) * sizeof(T));
}

template <class Real>
void store_any(Dtype type, const Real* from, std::int64_t count, char* to) {
  switch (type) {
    case Dtype::kU8:
      return store_numbers<std::uint8_t>(from, count, to);
    case Dtype::kI8:
      return store_numbers<std::int8_t>(from, count, to);
    case Dtype::kI16:
      return store_numbers<std::int16_t>(from, count, to);
    case Dtype::kI32:
      return store_numbers<std::int32_t>(from, count, to);
    case Dtype::kF16:
      return store_numbers<Half>(from, count, to);
    case Dtype::kBF16:
      return store_numbers<BFloat16>(from, count, to);
    case Dtype::kF32:
      return store_numbers<float>(from, count, to);
    default:
      return store_numbers<double>(from, count, to);
  }
}

template <class Real>
void scale_numbers(const Conversion& conversion, const ChannelNumbers<Real>& numbers,
                   std::int64_t channel, std::int64_t count, Real* __restrict x) {
  const auto first = static_cast<std::size_t>(channel);
  if (!numbers.scale.empty()) {
    const Real* scale = &numbers.scale[first];
    if (conversion.cyclic) {
      for (std::int64_t i = 0; i < count; ++i) x[i] *= scale[i];
    } else {
      for (std::int64_t i = 0; i < count; ++i) x[i] *= *scale;
    }
  }
  if (!numbers.shift.empty()) {
    const Real* shift = &numbers.shift[first];
    if (conversion.cyclic) {
      for (std::int64_t i = 0; i < count; ++i) x[i] += shift[i];
    } else {
      for (std::int64_t i = 0; i < count; ++i) x[i] += *shift;
    }
  }
}

template <class Real>
void convert_row(const Conversion& conversion, const ChannelNumbers<Real>& numbers,
                 std::int64_t out_item, const char* from, std::int64_t step, std::int64_t count,
                 std::int64_t channel, char* to) {
  Real block[kConversionBlock];
  for (std::int64_t at = 0; at < count; at += kConversionBlock) {
    const std::int64_t taken = std::min(kConversionBlock, count - at);
    load_any(conversion.type, from + at * step, step, taken, block);
    const std::int64_t first = conversion.cyclic ? (channel + at) % conversion.channels : channel;
    scale_numbers(conversion, numbers, first, taken, block);
    store_any(conversion.out_type, block, taken, to + at * out_item);
  }
}

std::int64_t bytes_of(Dtype type) {
  switch (type) {
    case Dtype::kBool:
    case Dtype::kU8:
    case Dtype::kI8:
      return 1;
    case Dtype::kI16:
    case Dtype::kF16:
    case Dtype::kBF16:
      return 2;
    case Dtype::kI32:
    case Dtype::kF32:
      return 4;
    default:
      return 8;
  }
}

void convert(const Conversion& conversion, const char* from, std::int64_t step, std::int64_t count,
             std::int64_t channel, char* to) {
  const std::int64_t item = bytes_of(conversion.out_type);
  if (converts_in_double(conversion.type)) {
    convert_row(conversion, conversion.wide, item, from, step, count, channel, to);
  } else {
    convert_row(conversion, conversion.narrow, item, from, step, count, channel, to);
  }
}

}  // namespace

extern const ConversionKernels conversion_kernel_table;
const ConversionKernels conversion_kernel_table = {convert};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
