#include "sparse/packing_kernel.hpp"

#include <cstring>

#include "core/simd.hpp"

namespace tokfrag::TOKFRAG_ISA {

using sparse::kGroupRows;
using sparse::PackingKernels;
using sparse::RowGroup;

namespace {

template <class E, class Value>
inline E narrowed(Value value) {
  E number;
  tokfrag::narrow(value, number);
  return number;
}

// Numbers of a line in the square blocks that are transposed: whole cache lines where registers are
// as long (2.3x on the way out).
#if defined(__AVX512F__)
template <class T>
constexpr int kLongest = sizeof(T) == 4 ? 16 : 8;
#else
template <class T>
constexpr int kLongest = 8;
#endif

// Each step is one shuffle instruction: pairs, then pairs of pairs, then halves.
template <class E>
TOKFRAG_INLINE void transpose(E (&a)[8]) {
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

// The same of sixteen lines: pairs, fours, and two steps of whole fours.
template <class E>
TOKFRAG_INLINE void transpose(E (&a)[16]) {
  E b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28,
                                   13, 29);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27,
                                       14, 30, 15, 31);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      a[i + 2 * k] = __builtin_shufflevector(b[i + k], b[i + k + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8,
                                             9, 24, 25, 12, 13, 28, 29);
      a[i + 2 * k + 1] = __builtin_shufflevector(b[i + k], b[i + k + 2], 2, 3, 18, 19, 6, 7, 22, 23,
                                                 10, 11, 26, 27, 14, 15, 30, 31);
    }
  }
  // a[4 j + k] now holds, for lines 4 j to 4 j + 3, columns k, k + 4, k + 8 and k + 12.
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      b[4 * k + 2 * j] = __builtin_shufflevector(a[8 * j + k], a[8 * j + 4 + k], 0, 1, 2, 3, 16, 17,
                                                 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
      b[4 * k + 2 * j + 1] =
          __builtin_shufflevector(a[8 * j + k], a[8 * j + 4 + k], 8, 9, 10, 11, 24, 25, 26, 27, 12,
                                  13, 14, 15, 28, 29, 30, 31);
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      a[8 * j + k] = __builtin_shufflevector(b[4 * k + j], b[4 * k + 2 + j], 0, 1, 2, 3, 4, 5, 6, 7,
                                             16, 17, 18, 19, 20, 21, 22, 23);
      a[8 * j + 4 + k] = __builtin_shufflevector(b[4 * k + j], b[4 * k + 2 + j], 8, 9, 10, 11, 12,
                                                 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
  }
}

// Real<E>: what elements of type E are computed in.
template <class E>
using Real = decltype(tokfrag::widen(E{}));

template <class E>
void pack_rest(const E* x, std::int64_t stride, std::int64_t valid, std::int64_t column,
               std::int64_t columns, std::int64_t lanes, std::int64_t lane, int count,
               Real<E>* panel) {
  for (; column < columns; ++column) {
    for (std::int64_t l = lane; l < lane + count; ++l) {
      panel[column * lanes + l] =
          l < valid ? Real<E>(tokfrag::widen(x[l * stride + column])) : Real<E>(0);
    }
  }
}

// Packs lanes [lane, lane + kCount).
template <class E, int kCount>
TOKFRAG_INLINE void pack_lanes(const E* x, std::int64_t stride, std::int64_t valid,
                               std::int64_t columns, std::int64_t lanes, std::int64_t lane,
                               Real<E>* panel) {
  using T = Real<E>;
  using Part = Vector<T, kCount>;
  std::int64_t column = 0;
  if (lane + kCount <= valid) {
    for (; column + kCount <= columns; column += kCount) {
      Part block[kCount];
#pragma GCC unroll 16
      for (int l = 0; l < kCount; ++l) {
        T line[kCount];
        const E* from = x + (lane + l) * stride + column;
        for (int k = 0; k < kCount; ++k) line[k] = tokfrag::widen(from[k]);
        std::memcpy(&block[l], line, sizeof line);
      }
      transpose(block);
#pragma GCC unroll 16
      for (int k = 0; k < kCount; ++k) {
        std::memcpy(panel + (column + k) * lanes + lane, &block[k], sizeof(Part));
      }
    }
  }
  pack_rest(x, stride, valid, column, columns, lanes, lane, kCount, panel);
}

template <class E>
void pack(const void* x_address, std::int64_t stride, std::int64_t valid, std::int64_t columns,
          std::int64_t lanes, void* panel_address) {
  const auto* x = static_cast<const E*>(x_address);
  auto* panel = static_cast<Real<E>*>(panel_address);
  constexpr int kLong = kLongest<Real<E>>;
  std::int64_t lane = 0;
  for (; lane + kLong <= valid; lane += kLong) {
    pack_lanes<E, kLong>(x, stride, valid, columns, lanes, lane, panel);
  }
  for (; lane < lanes; lane += 8) {
    pack_lanes<E, 8>(x, stride, valid, columns, lanes, lane, panel);
  }
}

template <class E>
void pack_pairs(const void* x_address, std::int64_t stride, std::int64_t valid, std::int64_t rows,
                std::int64_t lanes, void* pairs_address) {
  using T = Real<E>;
  using Eight = Vector<T, 8>;
  const auto* x = static_cast<const E*>(x_address);
  auto* pairs = static_cast<T*>(pairs_address);
  for (std::int64_t lane = 0; lane < lanes; lane += 2) {
    for (std::int64_t row = 0; row < rows; row += kGroupRows) {
      T line[2][8] = {};
      for (std::int64_t l = lane; l < lane + 2 && l < valid; ++l) {
        const E* from = x + l * stride + row;
        if (row + 8 <= rows) {
          for (int k = 0; k < 8; ++k) line[l - lane][k] = tokfrag::widen(from[k]);
        } else {
          for (int k = 0; k < rows - row; ++k) line[l - lane][k] = tokfrag::widen(from[k]);
        }
      }
      Eight a;
      Eight b;
      std::memcpy(&a, line[0], sizeof a);
      std::memcpy(&b, line[1], sizeof b);
      const Eight first = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
      const Eight second = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
      T* to = pairs + row * lanes + lane * kGroupRows;
      std::memcpy(to, &first, sizeof first);
      std::memcpy(to + 8, &second, sizeof second);
    }
  }
}

template <class T>
void fold_pairs(const void* sums_address, const RowGroup* groups, std::int64_t count,
                void* out_address) {
  using Eight = Vector<T, 8>;
  const auto* sums = static_cast<const T*>(sums_address);
  auto* out = static_cast<T*>(out_address);
  for (const RowGroup* group = groups; group < groups + count; ++group) {
    const int columns = group->count;
    int n = 0;
    for (; n + 8 <= columns; n += 8) {
      Eight lines[8];
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) {
        Eight low;
        Eight high;
        std::memcpy(&low, sums + (n + k) * 16, sizeof low);
        std::memcpy(&high, sums + (n + k) * 16 + 8, sizeof high);
        lines[k] = __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14) +
                   __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15);
      }
      transpose(lines);
      for (int r = 0; r < group->height; ++r) {
        std::memcpy(out + r * columns + n, &lines[r], sizeof(Eight));
      }
    }
    for (; n < columns; ++n) {
      for (int r = 0; r < group->height; ++r) {
        out[r * columns + n] = sums[n * 16 + 2 * r] + sums[n * 16 + 2 * r + 1];
      }
    }
    sums += columns * 16;
    out += columns * group->height;
  }
}

template <class E>
void unpack_rest(const Real<E>* rows, std::int64_t row, std::int64_t count, std::int64_t lanes,
                 const E* bias, std::int64_t valid, std::int64_t stride, std::int64_t lane,
                 int lane_count, E* y) {
  const std::int64_t last = lane + lane_count < valid ? lane + lane_count : valid;
  for (; row < count; ++row) {
    for (std::int64_t l = lane; l < last; ++l) {
      Real<E> sum = rows[row * lanes + l];
      if (bias != nullptr) sum += tokfrag::widen(bias[row]);
      y[l * stride + row] = narrowed<E>(sum);
    }
  }
}

// Unpacks lanes [lane, lane + kCount), those that are valid.
template <class E, int kCount>
TOKFRAG_INLINE void unpack_lanes(const Real<E>* rows, std::int64_t count, std::int64_t lanes,
                                 const E* bias, std::int64_t valid, std::int64_t stride,
                                 std::int64_t lane, E* y) {
  using T = Real<E>;
  using Part = Vector<T, kCount>;
  std::int64_t row = 0;
  if (lane + kCount <= valid) {
    for (; row + kCount <= count; row += kCount) {
      Part block[kCount];
#pragma GCC unroll 16
      for (int k = 0; k < kCount; ++k) {
        std::memcpy(&block[k], rows + (row + k) * lanes + lane, sizeof(Part));
        if (bias != nullptr) block[k] += tokfrag::widen(bias[row + k]);
      }
      transpose(block);
#pragma GCC unroll 16
      for (int l = 0; l < kCount; ++l) {
        E* to = y + (lane + l) * stride + row;
        if constexpr (sizeof(E) == sizeof(T)) {
          std::memcpy(to, &block[l], sizeof(Part));
        } else {
          T line[kCount];
          std::memcpy(line, &block[l], sizeof line);
          for (int k = 0; k < kCount; ++k) to[k] = narrowed<E>(line[k]);
        }
      }
    }
  }
  unpack_rest(rows, row, count, lanes, bias, valid, stride, lane, kCount, y);
}

template <class E>
void unpack(const void* rows_address, std::int64_t count, std::int64_t lanes,
            const void* bias_address, std::int64_t valid, std::int64_t stride, void* y_address) {
  const auto* rows = static_cast<const Real<E>*>(rows_address);
  const auto* bias = static_cast<const E*>(bias_address);
  auto* y = static_cast<E*>(y_address);
  constexpr int kLong = kLongest<Real<E>>;
  std::int64_t lane = 0;
  for (; lane + kLong <= valid; lane += kLong) {
    unpack_lanes<E, kLong>(rows, count, lanes, bias, valid, stride, lane, y);
  }
  for (; lane < valid; lane += 8) {
    unpack_lanes<E, 8>(rows, count, lanes, bias, valid, stride, lane, y);
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
    {pack_pairs<float>, pack_pairs<double>, pack_pairs<Half>, pack_pairs<BFloat16>},
    {fold_pairs<float>, fold_pairs<double>},
    {unpack<float>, unpack<double>, unpack<Half>, unpack<BFloat16>},
    {unpack_vector<float>, unpack_vector<double>, unpack_vector<Half>, unpack_vector<BFloat16>},
    {widen<float>, widen<double>, widen<Half>, widen<BFloat16>},
    {narrow<float>, narrow<double>, narrow<Half>, narrow<BFloat16>},
    {gather<float>, gather<double>, gather<Half>, gather<BFloat16>},
};

}  // namespace tokfrag::TOKFRAG_ISA
