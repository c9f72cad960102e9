#include "sparse/packing_kernel.hpp"

#include <cstring>

#include "core/half.hpp"

#define TOKFRAG_INLINE inline __attribute__((always_inline))

namespace tokfrag::TOKFRAG_ISA {

using sparse::PackingKernels;

namespace {

template <class E, class Value>
inline E narrowed(Value value) {
  E number;
  tokfrag::narrow(value, number);
  return number;
}

template <class T>
struct Simd {
  typedef T Eight __attribute__((vector_size(8 * sizeof(T)), may_alias, aligned(sizeof(T))));
};

// Each step is one shuffle instruction: pairs, then pairs of pairs, then halves.
template <class E>
TOKFRAG_INLINE void transpose_eight(E (&a)[8]) {
  E b[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      a[i + 2 * k] = __builtin_shufflevector(b[i + k], b[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[i + 2 * k + 1] =
          __builtin_shufflevector(b[i + k], b[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const E low = __builtin_shufflevector(a[k], a[k + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    const E high = __builtin_shufflevector(a[k], a[k + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    a[k] = low;
    a[k + 4] = high;
  }
}

// Real<E>: what elements of type E are computed in.
template <class E>
using Real = decltype(tokfrag::widen(E{}));

template <class E>
void pack(const void* x_address, std::int64_t stride, std::int64_t valid, std::int64_t columns,
          std::int64_t lanes, void* panel_address) {
  using T = Real<E>;
  using Eight = typename Simd<T>::Eight;
  const auto* x = static_cast<const E*>(x_address);
  auto* panel = static_cast<T*>(panel_address);
  for (std::int64_t lane = 0; lane < lanes; lane += 8) {
    std::int64_t column = 0;
    if (lane + 8 <= valid) {
      for (; column + 8 <= columns; column += 8) {
        Eight block[8];
#pragma GCC unroll 8
        for (int l = 0; l < 8; ++l) {
          T line[8];
          const E* from = x + (lane + l) * stride + column;
          for (int k = 0; k < 8; ++k) line[k] = tokfrag::widen(from[k]);
          std::memcpy(&block[l], line, sizeof line);
        }
        transpose_eight(block);
#pragma GCC unroll 8
        for (int k = 0; k < 8; ++k) {
          std::memcpy(panel + (column + k) * lanes + lane, &block[k], sizeof(Eight));
        }
      }
    }
    for (; column < columns; ++column) {
      for (int l = 0; l < 8; ++l) {
        panel[column * lanes + lane + l] =
            lane + l < valid ? T(tokfrag::widen(x[(lane + l) * stride + column])) : T(0);
      }
    }
  }
}

template <class E>
void unpack(const void* rows_address, std::int64_t count, std::int64_t lanes,
            const void* bias_address, std::int64_t valid, std::int64_t stride, void* y_address) {
  using T = Real<E>;
  using Eight = typename Simd<T>::Eight;
  const auto* rows = static_cast<const T*>(rows_address);
  const auto* bias = static_cast<const E*>(bias_address);
  auto* y = static_cast<E*>(y_address);
  for (std::int64_t lane = 0; lane < valid; lane += 8) {
    std::int64_t row = 0;
    if (lane + 8 <= valid) {
      for (; row + 8 <= count; row += 8) {
        Eight block[8];
#pragma GCC unroll 8
        for (int k = 0; k < 8; ++k) {
          std::memcpy(&block[k], rows + (row + k) * lanes + lane, sizeof(Eight));
          if (bias != nullptr) block[k] += tokfrag::widen(bias[row + k]);
        }
        transpose_eight(block);
#pragma GCC unroll 8
        for (int l = 0; l < 8; ++l) {
          T line[8];
          std::memcpy(line, &block[l], sizeof line);
          E* to = y + (lane + l) * stride + row;
          for (int k = 0; k < 8; ++k) to[k] = narrowed<E>(line[k]);
        }
      }
    }
    for (; row < count; ++row) {
      for (std::int64_t l = lane; l < valid && l < lane + 8; ++l) {
        T sum = rows[row * lanes + l];
        if (bias != nullptr) sum += tokfrag::widen(bias[row]);
        y[l * stride + row] = narrowed<E>(sum);
      }
    }
  }
}

template <class E>
void unpack_vector(const void* rows_address, std::int64_t count, const void* bias_address,
                   void* y_address) {
  using T = Real<E>;
  const auto* rows = static_cast<const T*>(rows_address);
  const auto* bias = static_cast<const E*>(bias_address);
  auto* y = static_cast<E*>(y_address);
  for (std::int64_t row = 0; row < count; ++row) {
    T part[16];
    std::memcpy(part, rows + row * 16, sizeof part);
    for (int half = 8; half > 0; half /= 2) {
      for (int k = 0; k < half; ++k) part[k] += part[k + half];
    }
    y[row] = narrowed<E>(bias != nullptr ? part[0] + tokfrag::widen(bias[row]) : part[0]);
  }
}

template <class E>
void widen(const void* from_address, std::int64_t count, void* to_address) {
  const auto* from = static_cast<const E*>(from_address);
  auto* to = static_cast<Real<E>*>(to_address);
  for (std::int64_t i = 0; i < count; ++i) to[i] = tokfrag::widen(from[i]);
}

template <class E>
void narrow(const void* from_address, std::int64_t count, void* to_address) {
  const auto* from = static_cast<const Real<E>*>(from_address);
  auto* to = static_cast<E*>(to_address);
  for (std::int64_t i = 0; i < count; ++i) to[i] = narrowed<E>(from[i]);
}

template <class E>
void gather(const void* from_address, const std::uint16_t* sources, std::int64_t count,
            void* to_address) {
  const auto* from = static_cast<const E*>(from_address);
  auto* to = static_cast<Real<E>*>(to_address);
  for (std::int64_t i = 0; i < count; ++i) to[i] = tokfrag::widen(from[sources[i]]);
}

}  // namespace

extern const PackingKernels sparse_packing_kernels;
const PackingKernels sparse_packing_kernels = {
    {pack<float>, pack<double>, pack<Half>, pack<BFloat16>},
    {unpack<float>, unpack<double>, unpack<Half>, unpack<BFloat16>},
    {unpack_vector<float>, unpack_vector<double>, unpack_vector<Half>, unpack_vector<BFloat16>},
    {widen<float>, widen<double>, widen<Half>, widen<BFloat16>},
    {narrow<float>, narrow<double>, narrow<Half>, narrow<BFloat16>},
    {gather<float>, gather<double>, gather<Half>, gather<BFloat16>},
};

}  // namespace tokfrag::TOKFRAG_ISA
