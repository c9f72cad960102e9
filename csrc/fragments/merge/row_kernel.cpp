#include "fragments/merge/row_kernel.hpp"

#include "fragments/merge/vectors.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

template <class T>
void set_scaled(double* __restrict row, const void* from, double weight, std::int64_t items) {
  const T* __restrict values = static_cast<const T*>(from);
  std::int64_t i = 0;
  for (; i + kLanes <= items; i += kLanes) {
    store_lanes(row + i, splat(weight) * load(values + i));
  }
  for (; i < items; ++i) row[i] = weight * as_double(values[i]);
}

template <class T>
void add_scaled(double* __restrict row, const void* from, double weight, std::int64_t items) {
  const T* __restrict values = static_cast<const T*>(from);
  std::int64_t i = 0;
  for (; i + kLanes <= items; i += kLanes) {
    store_lanes(row + i, load(row + i) + splat(weight) * load(values + i));
  }
  for (; i < items; ++i) row[i] += weight * as_double(values[i]);
}

template <class T>
void store_row(void* to, const double* __restrict value, std::int64_t items) {
  T* __restrict out = static_cast<T*>(to);
  std::int64_t i = 0;
  for (; i + kLanes <= items; i += kLanes) store_lanes(out + i, load(value + i));
  for (; i < items; ++i) store_number(value[i], out[i]);
}

template <class T>
void set_scaled_single(float* __restrict row, const void* from, float weight, std::int64_t items) {
  const T* __restrict values = static_cast<const T*>(from);
  std::int64_t i = 0;
  for (; i + kWideLanes <= items; i += kWideLanes) {
    store_lanes(row + i, splat(weight) * load_wide(values + i));
  }
  for (; i < items; ++i) row[i] = weight * widen(values[i]);
}

template <class T>
void add_scaled_single(float* __restrict row, const void* from, float weight, std::int64_t items) {
  const T* __restrict values = static_cast<const T*>(from);
  std::int64_t i = 0;
  for (; i + kWideLanes <= items; i += kWideLanes) {
    store_lanes(row + i, load_wide(row + i) + splat(weight) * load_wide(values + i));
  }
  for (; i < items; ++i) row[i] += weight * widen(values[i]);
}

template <class T>
void store_single(void* to, const float* __restrict value, std::int64_t items) {
  T* __restrict out = static_cast<T*>(to);
  std::int64_t i = 0;
  for (; i + kWideLanes <= items; i += kWideLanes) store_lanes(out + i, load_wide(value + i));
  for (; i < items; ++i) narrow(value[i], out[i]);
}

inline bool exceeds(Half a, Half b) { return widen(a) > widen(b); }
inline bool exceeds(BFloat16 a, BFloat16 b) { return widen(a) > widen(b); }
template <class T>
inline bool exceeds(T a, T b) {
  return a > b;
}
inline bool is_nan(Half a) { return (a.bits & 0x7fffu) > 0x7c00u; }
inline bool is_nan(BFloat16 a) { return (a.bits & 0x7fffu) > 0x7f80u; }
template <class T>
inline bool is_nan(T a) {
  return a != a;
}

template <class T>
void keep_max(void* best, std::int64_t step, const void* from, std::int64_t count,
              std::int64_t width) {
  T* __restrict kept = static_cast<T*>(best);
  const T* __restrict values = static_cast<const T*>(from);
  if (step == width) {
    count *= width;
    step = width = 1;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    for (std::int64_t i = 0; i < width; ++i) {
      const T value = values[k * width + i];
      T& held = kept[k * step + i];
      held = exceeds(value, held) || is_nan(value) ? value : held;
    }
  }
}

template <class Real>
void add_weighted(Real* __restrict sum, std::int64_t step, const Real* __restrict row,
                  const Real* __restrict weights, std::int64_t weight_step, std::int64_t count,
                  std::int64_t width) {
  if (weights == nullptr) {
    if (step == width) {
      for (std::int64_t i = 0; i < count * width; ++i) sum[i] += row[i];
      return;
    }
    for (std::int64_t k = 0; k < count; ++k) {
      for (std::int64_t i = 0; i < width; ++i) sum[k * step + i] += row[k * width + i];
    }
  } else if (width == 1 && step == 1 && weight_step == 1) {
    for (std::int64_t k = 0; k < count; ++k) sum[k] += weights[k] * row[k];
  } else {
    for (std::int64_t k = 0; k < count; ++k) {
      const Real weight = weights[k * weight_step];
      for (std::int64_t i = 0; i < width; ++i) sum[k * step + i] += weight * row[k * width + i];
    }
  }
}

// Knuth's two-sum: high + low is the exact sum so far.
inline void two_sum(double& high, double& low, double value) {
  const double sum = high + value;
  const double taken = sum - high;
  low += (high - (sum - taken)) + (value - taken);
  high = sum;
}

void add_exact(double* __restrict high, double* __restrict low, std::int64_t step,
               const double* __restrict row, std::int64_t count, std::int64_t width) {
  if (step == width) {
    count *= width;
    step = width = 1;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    for (std::int64_t i = 0; i < width; ++i) {
      two_sum(high[k * step + i], low[k * step + i], row[k * width + i]);
    }
  }
}

void multiply(double* __restrict value, double scale, const double* __restrict factors,
              std::int64_t count, std::int64_t width) {
  if (factors == nullptr) {
    if (scale == 1.0) return;
    for (std::int64_t i = 0; i < count * width; ++i) value[i] *= scale;
    return;
  }
  if (width == 1) {
    for (std::int64_t k = 0; k < count; ++k) value[k] *= scale * factors[k];
    return;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    const double factor = scale * factors[k];
    for (std::int64_t i = 0; i < width; ++i) value[k * width + i] *= factor;
  }
}

void multiply_single(float* __restrict value, double scale, const double* __restrict factors,
                     std::int64_t count, std::int64_t width) {
  if (factors == nullptr) {
    const auto factor = static_cast<float>(scale);
    for (std::int64_t i = 0; i < count * width; ++i) value[i] *= factor;
    return;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    const auto factor = static_cast<float>(scale * factors[k]);
    for (std::int64_t i = 0; i < width; ++i) value[k * width + i] *= factor;
  }
}

void divide(double* __restrict value, double scale, const double* __restrict divisors,
            std::int64_t count, std::int64_t width) {
  if (width == 1 && divisors != nullptr) {
    for (std::int64_t k = 0; k < count; ++k) value[k] /= scale * divisors[k];
    return;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    const double divisor = divisors == nullptr ? scale : scale * divisors[k];
    for (std::int64_t i = 0; i < width; ++i) value[k * width + i] /= divisor;
  }
}

void divide_exact(double* __restrict high, const double* __restrict low, double scale,
                  const double* __restrict divisors, std::int64_t count, std::int64_t width) {
  for (std::int64_t k = 0; k < count; ++k) {
    const double divisor = divisors == nullptr ? scale : scale * divisors[k];
    for (std::int64_t i = 0; i < width; ++i) {
      const double sum = high[k * width + i];
      const double quotient = sum / divisor;
      const double rest = __builtin_fma(-quotient, divisor, sum) + low[k * width + i];
      // No rest, or none that means anything (infinities): the quotient stands, sign of zero too.
      const bool refine = rest != 0 && rest - rest == 0;
      high[k * width + i] = refine ? quotient + rest / divisor : quotient;
    }
  }
}

template <class T>
constexpr MergeLoops loops_for() {
  return {&set_scaled<T>, &add_scaled<T>, &store_row<T>, &keep_max<T>};
}

template <class T>
constexpr SingleLoops single_loops_for() {
  return {&set_scaled_single<T>, &add_scaled_single<T>, &store_single<T>};
}

// Sums of 64-bit integers would not be exact in float64: there is only their maximum.
constexpr MergeLoops kInt64Loops{nullptr, nullptr, nullptr, &keep_max<std::int64_t>};

}  // namespace

extern const MergeKernels merge_kernels_table;
const MergeKernels merge_kernels_table{
    {
        loops_for<std::uint8_t>(),  // bool
        loops_for<std::uint8_t>(),
        loops_for<std::int8_t>(),
        loops_for<std::int16_t>(),
        loops_for<std::int32_t>(),
        kInt64Loops,
        loops_for<Half>(),
        loops_for<BFloat16>(),
        loops_for<float>(),
        loops_for<double>(),
    },
    {single_loops_for<Half>(), single_loops_for<BFloat16>()},
    &add_weighted<double>,
    &add_weighted<float>,
    &add_exact,
    &multiply,
    &multiply_single,
    &divide,
    &divide_exact,
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
