#include "fragments/merge/adjoint_kernel.hpp"

#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

constexpr std::uintptr_t kLine = 64;

template <class T, bool kWeighted, bool kStream>
void weigh_row(T* __restrict to, const double* __restrict from, const double* __restrict weights,
               double scale, std::int64_t numbers) {
  const Doubles scales = splat(scale);
  const auto weighed = [&](std::int64_t at) __attribute__((always_inline)) {
    return load(from + at) * (kWeighted ? scales * load(weights + at) : scales);
  };
  std::int64_t i = 0;
  if constexpr (kStream) {  // whole lines: two registers of doubles make one of floats
    for (; i + 2 * kLanes <= numbers; i += 2 * kLanes) {
      stream_two(to + i, weighed(i), weighed(i + kLanes));
    }
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

// Two registers' numbers: halves are rounded together.
template <class T, bool kStream>
TOKFRAG_INLINE void put_two(T* to, const Doubles& first, const Doubles& second) {
  if constexpr (sizeof(T) == 2) {
    const WideFloats both =
        joined(floats(first), floats(second), std::make_integer_sequence<int, kWideLanes>());
    kStream ? stream(to, both) : store(to, both);
  } else if constexpr (kStream) {
    stream_two(to, first, second);
  } else {
    store(to, first);
    store(to + kLanes, second);
  }
}

// Rows that have the same weights, which stay in registers while all rows pass.
template <class T, bool kStream>
void weigh_alike(const WeightedRows& rows, std::int64_t numbers) {
  constexpr int kPairs = 4;
  constexpr std::int64_t kNumbers = 2 * kPairs * kLanes;
  std::int64_t i = 0;
  for (; i + kNumbers <= numbers; i += kNumbers) {
    Doubles factors[2 * kPairs];
    unrolled<2 * kPairs>(
        [&](auto k) { factors[k] = splat(rows.scale) * load(rows.weights + i + k * kLanes); });
    const double* from = rows.from + i;
    char* to = rows.to + i * static_cast<std::int64_t>(sizeof(T));
    for (std::int64_t row = 0; row < rows.rows; ++row) {
      unrolled<kPairs>([&](auto pair) {
        constexpr int at = 2 * kLanes * pair;
        put_two<T, kStream>(reinterpret_cast<T*>(to) + at, load(from + at) * factors[2 * pair],
                            load(from + at + kLanes) * factors[2 * pair + 1]);
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
  const bool whole_lines = (reinterpret_cast<std::uintptr_t>(rows.to) | bytes |
                            static_cast<std::uintptr_t>(rows.to_step)) %
                               kLine ==
                           0;
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
    &multiply,
    &add_weights,
    &fence,
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
