#include "fragments/merge/adjoint_kernel.hpp"

#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

constexpr std::uintptr_t kLine = 64;

bool are_lines(const char* to, std::int64_t to_step, std::uintptr_t bytes) {
  const auto step = static_cast<std::uintptr_t>(to_step);
  return (reinterpret_cast<std::uintptr_t>(to) | bytes | step) % kLine == 0;
}

template <int k>
constexpr std::integral_constant<int, k> constant{};

// Two registers of halves, rounded together.
template <class T>
TOKFRAG_INLINE WideShorts halves_of(const Doubles& first, const Doubles& second) {
  constexpr auto kAll = std::make_integer_sequence<int, kWideLanes>();
  return packed(joined(floats(first), floats(second), kAll), T{});
}

template <class T>
TOKFRAG_INLINE void store_two(T* to, const Doubles& first, const Doubles& second) {
  if constexpr (sizeof(T) == 2) {
    store_bytes(to, halves_of<T>(first, second));
  } else {
    store(to, first);
    store(to + kLanes, second);
  }
}

// Four registers' numbers. Around the cache a store is a register long, a line with AVX-512: lines
// that leave in parts take twice the time.
template <class T, bool kStream>
TOKFRAG_INLINE void put_four(T* to, const Doubles& a, const Doubles& b, const Doubles& c,
                             const Doubles& d) {
  if constexpr (!kStream) {
    store_two(to, a, b);
    store_two(to + 2 * kLanes, c, d);
  } else if constexpr (sizeof(T) == 2) {
    constexpr auto kAll = std::make_integer_sequence<int, 2 * kWideLanes>();
    stream_bytes(to, joined(halves_of<T>(a, b), halves_of<T>(c, d), kAll));
  } else {
    stream_two(to, a, b);
    stream_two(to + 2 * kLanes, c, d);
  }
}

template <class T, bool kWeighted, bool kStream>
void weigh_row(T* __restrict to, const double* __restrict from, const double* __restrict weights,
               double scale, std::int64_t numbers) {
  const Doubles scales = splat(scale);
  const auto weighed = [&](std::int64_t at) __attribute__((always_inline)) {
    return load(from + at) * (kWeighted ? scales * load(weights + at) : scales);
  };
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= numbers; i += 4 * kLanes) {
    put_four<T, kStream>(to + i, weighed(i), weighed(i + kLanes), weighed(i + 2 * kLanes),
                         weighed(i + 3 * kLanes));
  }
  for (; i + kLanes <= numbers; i += kLanes) store(to + i, weighed(i));
  for (; i < numbers; ++i) put_number(from[i] * (kWeighted ? scale * weights[i] : scale), to[i]);
}

template <class T, bool kWeighted, bool kStream>
void weigh_rows(const WeightedRows& rows, std::int64_t numbers) {
  const bool constant = !kWeighted && rows.weights != nullptr;  // one weight for all of a row
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    const double scale = rows.scale * (constant ? rows.weights[row * rows.weight_row_step] : 1.0);
    weigh_row<T, kWeighted, kStream>(reinterpret_cast<T*>(rows.to + row * rows.to_step),
                                     rows.from + row * rows.from_step,
                                     rows.weights + row * rows.weight_row_step, scale, numbers);
  }
}

// Rows that have the same weights, which stay in registers while all rows pass.
template <class T, bool kStream>
void weigh_alike(const WeightedRows& rows, std::int64_t numbers) {
  constexpr int kRegisters = 8;
  constexpr std::int64_t kNumbers = kRegisters * kLanes;
  std::int64_t i = 0;
  for (; i + kNumbers <= numbers; i += kNumbers) {
    Doubles factors[kRegisters];
    unrolled<kRegisters>(
        [&](auto k) { factors[k] = splat(rows.scale) * load(rows.weights + i + k * kLanes); });
    const double* from = rows.from + i;
    char* to = rows.to + i * static_cast<std::int64_t>(sizeof(T));
    for (std::int64_t row = 0; row < rows.rows; ++row) {
      const auto weighed = [&](auto k) __attribute__((always_inline)) {
        return load(from + k * kLanes) * factors[k];
      };
      unrolled<kRegisters / 4>([&](auto k) {
        constexpr int at = 4 * k;
        put_four<T, kStream>(reinterpret_cast<T*>(to) + at * kLanes, weighed(constant<at>),
                             weighed(constant<at + 1>), weighed(constant<at + 2>),
                             weighed(constant<at + 3>));
      });
      from += rows.from_step;
      to += rows.to_step;
    }
  }
  if (i == numbers) return;
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    weigh_row<T, true, kStream>(reinterpret_cast<T*>(rows.to + row * rows.to_step) + i,
                                rows.from + row * rows.from_step + i, rows.weights + i, rows.scale,
                                numbers - i);
  }
}

// Dilated windows, and weights of positions several numbers wide.
template <class T>
void weigh_apart(const WeightedRows& rows) {
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    T* to = reinterpret_cast<T*>(rows.to + row * rows.to_step);
    const double* from = rows.from + row * rows.from_step;
    for (std::int64_t k = 0; k < rows.count; ++k) {
      double factor = rows.scale;
      if (rows.weights != nullptr) {
        factor *= rows.weights[row * rows.weight_row_step + k * rows.weight_step];
      }
      for (std::int64_t i = 0; i < rows.width; ++i) {
        put_number(from[k * rows.dilation * rows.width + i] * factor, to[k * rows.width + i]);
      }
    }
  }
}

template <class T>
void weigh(const WeightedRows& rows) {
  const bool weighted = rows.weights != nullptr && rows.weight_step != 0;
  if (rows.dilation != 1 || (weighted && rows.width != 1)) {
    weigh_apart<T>(rows);
    return;
  }
  const std::int64_t numbers = rows.count * rows.width;
  const auto bytes = static_cast<std::uintptr_t>(numbers) * sizeof(T);
  const bool whole_lines = are_lines(rows.to, rows.to_step, bytes);
  if (weighted && rows.weight_row_step == 0) {
    rows.stream&& whole_lines ? weigh_alike<T, true>(rows, numbers)
                              : weigh_alike<T, false>(rows, numbers);
  } else if (rows.stream && whole_lines) {
    weighted ? weigh_rows<T, true, true>(rows, numbers) : weigh_rows<T, false, true>(rows, numbers);
  } else {
    weighted ? weigh_rows<T, true, false>(rows, numbers)
             : weigh_rows<T, false, false>(rows, numbers);
  }
}

template <class T>
void widen_row(double* __restrict row, const void* from, std::int64_t numbers, double scale,
               const double* __restrict factors) {
  const T* __restrict values = static_cast<const T*>(from);
  const Doubles scales = splat(scale);
  std::int64_t i = 0;
  if (factors == nullptr) {
    for (; i + kLanes <= numbers; i += kLanes) store(row + i, load(values + i) * scales);
    for (; i < numbers; ++i) row[i] = real_of<double>(values[i]) * scale;
    return;
  }
  for (; i + kLanes <= numbers; i += kLanes) {
    store(row + i, load(values + i) * (scales * load(factors + i)));
  }
  for (; i < numbers; ++i) row[i] = real_of<double>(values[i]) * (scale * factors[i]);
}

// From one type to the same, past float64: two registers of doubles to a store.
template <class T>
void narrow_row(void* out, const void* from, std::int64_t numbers, double scale,
                const double* __restrict factors) {
  T* __restrict to = static_cast<T*>(out);
  const T* __restrict values = static_cast<const T*>(from);
  const Doubles scales = splat(scale);
  const bool factored = factors != nullptr;
  const auto normal = [&](std::int64_t at) __attribute__((always_inline)) {
    return load(values + at) * (factored ? scales * load(factors + at) : scales);
  };
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= numbers; i += 2 * kLanes) {
    store_two(to + i, normal(i), normal(i + kLanes));
  }
  for (; i < numbers; ++i) {
    put_number(real_of<double>(values[i]) * (factored ? scale * factors[i] : scale), to[i]);
  }
}

// Each number times its factor, in float32.
template <class T, class To>
TOKFRAG_INLINE void multiply_singles(To* __restrict to, const void* from, std::int64_t numbers,
                                     float scale, const float* __restrict factors) {
  const T* __restrict values = static_cast<const T*>(from);
  const WideFloats scales = splat(scale);
  std::int64_t i = 0;
  if (factors == nullptr) {
    for (; i + kWideLanes <= numbers; i += kWideLanes) {
      store(to + i, load_wide(values + i) * scales);
    }
  } else {
    for (; i + kWideLanes <= numbers; i += kWideLanes) {
      store(to + i, load_wide(values + i) * (scales * load_wide(factors + i)));
    }
  }
  for (; i < numbers; ++i) {
    put_number(real_of<float>(values[i]) * (factors == nullptr ? scale : scale * factors[i]),
               to[i]);
  }
}

// Products by powers of two are exact until they are rounded, in float32 too.
template <class T>
void halve_row(void* out, const void* from, std::int64_t numbers, float scale,
               const float* factors) {
  multiply_singles<T>(static_cast<T*>(out), from, numbers, scale, factors);
}

void widen_halves(float* row, const void* from, std::int64_t numbers, float scale,
                  const float* factors) {
  multiply_singles<Half>(row, from, numbers, scale, factors);
}

// All rows' numbers from `i` on, so many registers of them, whose weights stay in registers.
template <int kRegisters, bool kStream>
TOKFRAG_INLINE void weigh_single_block(const SingleRows& rows, std::int64_t i) {
  constexpr auto kAll = std::make_integer_sequence<int, 2 * kWideLanes>();
  WideFloats factors[kRegisters];
  unrolled<kRegisters>([&](auto k) {
    factors[k] = splat(rows.scale) * load_wide(rows.weights + i + k * kWideLanes);
  });
  const float* from = rows.from + i;
  char* to = rows.to + i * static_cast<std::int64_t>(sizeof(Half));
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    unrolled<kRegisters / 2>([&](auto pair) {
      constexpr int first = 2 * pair;
      constexpr int second = first + 1;
      const auto halves =
          joined(packed(load_wide(from + first * kWideLanes) * factors[first], Half{}),
                 packed(load_wide(from + second * kWideLanes) * factors[second], Half{}), kAll);
      char* const at = to + first * kWideLanes * static_cast<int>(sizeof(Half));
      kStream ? stream_bytes(at, halves) : store_bytes(at, halves);
    });
    from += rows.from_step;
    to += rows.to_step;
  }
}

// As weigh_alike. Whole lines are pairs of registers, so that none is left for the end.
template <bool kStream>
void weigh_singles(const SingleRows& rows) {
  std::int64_t i = 0;
  for (; i + 4 * kWideLanes <= rows.numbers; i += 4 * kWideLanes) {
    weigh_single_block<4, kStream>(rows, i);
  }
  for (; i + 2 * kWideLanes <= rows.numbers; i += 2 * kWideLanes) {
    weigh_single_block<2, kStream>(rows, i);
  }
  if (i == rows.numbers) return;
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    const float* from = rows.from + row * rows.from_step;
    auto* to = reinterpret_cast<Half*>(rows.to + row * rows.to_step);
    std::int64_t at = i;
    for (; at + kWideLanes <= rows.numbers; at += kWideLanes) {
      store(to + at, load_wide(from + at) * (splat(rows.scale) * load_wide(rows.weights + at)));
    }
    for (; at < rows.numbers; ++at) {
      put_number(from[at] * (rows.scale * rows.weights[at]), to[at]);
    }
  }
}

void weigh_halves(const SingleRows& rows) {
  const auto bytes = static_cast<std::uintptr_t>(rows.numbers) * sizeof(Half);
  const bool lines = are_lines(rows.to, rows.to_step, bytes);
  rows.stream&& lines ? weigh_singles<true>(rows) : weigh_singles<false>(rows);
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

void add_weights(double* __restrict sums, std::int64_t step, const double* __restrict weights,
                 std::int64_t count) {
  if (step == 1) {
    for (std::int64_t k = 0; k < count; ++k) sums[k] += weights[k];
    return;
  }
  for (std::int64_t k = 0; k < count; ++k) sums[k * step] += weights[k];
}

}  // namespace

extern const WeightedKernels weighted_kernels_table;
const WeightedKernels weighted_kernels_table{
    {
        nullptr,  // integers
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        &weigh<Half>,
        &weigh<BFloat16>,
        &weigh<float>,
        &weigh<double>,
    },
    {
        nullptr,  // integers
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        &widen_row<Half>,
        &widen_row<BFloat16>,
        &widen_row<float>,
        &widen_row<double>,
    },
    {
        nullptr,  // integers
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        &narrow_row<Half>,
        &narrow_row<BFloat16>,
        &narrow_row<float>,
        &narrow_row<double>,
    },
    {
        nullptr,  // integers
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        &halve_row<Half>,
        &halve_row<BFloat16>,
        &halve_row<float>,
        nullptr,
    },
    &widen_halves,
    &weigh_halves,
    &multiply,
    &add_weights,
    &fence,
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
