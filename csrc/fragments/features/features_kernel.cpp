#include <cstring>

#include "core/numbers.hpp"
#include "fragments/features/features.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

template <class T>
void load_row(const void* data, std::int64_t stride, std::int64_t count, double shift,
              double* out) {
  if (stride == static_cast<std::int64_t>(sizeof(T))) {
    const T* values = static_cast<const T*>(data);
    for (std::int64_t i = 0; i < count; ++i) out[i] = real_of<double>(values[i]) - shift;
    return;
  }
  const char* at = static_cast<const char*>(data);
  for (std::int64_t i = 0; i < count; ++i, at += stride) {
    T value;
    std::memcpy(&value, at, sizeof value);
    out[i] = real_of<double>(value) - shift;
  }
}

void add(double* into, const double* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) into[i] += from[i];
}

void add_scaled(double* into, const double* from, double factor, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) into[i] += factor * from[i];
}

void keep_least(double* into, const double* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    into[i] = from[i] < into[i] || from[i] != from[i] ? from[i] : into[i];
  }
}

void keep_greatest(double* into, const double* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    into[i] = from[i] > into[i] || from[i] != from[i] ? from[i] : into[i];
  }
}

}  // namespace

extern const FeatureKernels feature_kernel_table;
const FeatureKernels feature_kernel_table = {
    {load_row<Truth>, load_row<std::uint8_t>, load_row<std::int8_t>, load_row<std::int16_t>,
     load_row<std::int32_t>, load_row<std::int64_t>, load_row<Half>, load_row<BFloat16>,
     load_row<float>, load_row<double>},
    add,
    add_scaled,
    keep_least,
    keep_greatest,
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
