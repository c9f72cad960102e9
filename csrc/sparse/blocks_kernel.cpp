#include "sparse/blocks_kernel.hpp"

#include <cstring>

#include "sparse/lane_sums.hpp"

namespace tokfrag::TOKFRAG_ISA {

using sparse::BlockKernels;
using sparse::kGroupRows;
using sparse::RowGroup;

namespace {

// Rows whose sums stand in registers together, each in up to two vectors.
constexpr int kRowsAtOnce = kVectorBytes == 64 ? 8 : 4;

template <class T, int kLanes>
constexpr int kTileVectors = kLanes / Simd<T>::kWidth;
template <class T, int kLanes>
constexpr int kVectorsAtOnce = kTileVectors<T, kLanes> < 2 ? 1 : 2;

// kRows rows of a group, kVectors of the tile's kAll vectors of lanes.
template <class T, int kAll, int kRows, int kVectors>
TOKFRAG_INLINE void multiply_part(const typename Simd<T>::Native* panel, const T* values,
                                  const std::uint8_t* columns, int count,
                                  typename Simd<T>::Native* rows) {
  using V = typename Simd<T>::Native;
  V sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[r][v] = rows[r * kAll + v];
  }
  for (int n = 0; n < count; ++n) {
    const V* in = panel + columns[n] * kAll;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const T value = values[r * count + n];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[r][v] += in[v] * value;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) rows[r * kAll + v] = sum[r][v];
  }
}

template <class T, int kLanes>
void multiply(const void* panel_address, const void* values_address, const std::uint8_t* columns,
              const RowGroup* groups, std::int64_t count, void* rows_address) {
  using V = typename Simd<T>::Native;
  constexpr int kAll = kTileVectors<T, kLanes>;
  constexpr int kVectors = kVectorsAtOnce<T, kLanes>;
  const auto* panel = static_cast<const V*>(panel_address);
  const auto* values = static_cast<const T*>(values_address);
  auto* rows = static_cast<V*>(rows_address);
  for (const RowGroup* group = groups; group < groups + count; ++group) {
    const int n = group->count;
    if (n == 0) continue;
    for (int first = 0; first < kAll; first += kVectors) {
      V* out = rows + group->row * kAll + first;
      int r = 0;
      for (; r + kRowsAtOnce <= group->height; r += kRowsAtOnce) {
        multiply_part<T, kAll, kRowsAtOnce, kVectors>(panel + first, values + r * n, columns, n,
                                                      out + r * kAll);
      }
      for (; r < group->height; ++r) {
        multiply_part<T, kAll, 1, kVectors>(panel + first, values + r * n, columns, n,
                                            out + r * kAll);
      }
    }
    columns += n;
    values += n * group->height;
  }
}

template <class T, int kAll, int kRows, int kVectors>
TOKFRAG_INLINE void scatter_part(const typename Simd<T>::Native* rows, const T* values,
                                 const std::uint8_t* columns, int count,
                                 typename Simd<T>::Native* panel) {
  using V = typename Simd<T>::Native;
  V row[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) row[r][v] = rows[r * kAll + v];
  }
  for (int n = 0; n < count; ++n) {
    V* out = panel + columns[n] * kAll;
    V sum[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[v] = out[v];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const T value = values[r * count + n];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[v] += row[r][v] * value;
    }
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) out[v] = sum[v];
  }
}

template <class T, int kLanes>
void scatter(const void* rows_address, const void* values_address, const std::uint8_t* columns,
             const RowGroup* groups, std::int64_t count, void* panel_address) {
  using V = typename Simd<T>::Native;
  constexpr int kAll = kTileVectors<T, kLanes>;
  constexpr int kVectors = kVectorsAtOnce<T, kLanes>;
  const auto* rows = static_cast<const V*>(rows_address);
  const auto* values = static_cast<const T*>(values_address);
  auto* panel = static_cast<V*>(panel_address);
  for (const RowGroup* group = groups; group < groups + count; ++group) {
    const int n = group->count;
    if (n == 0) continue;
    for (int first = 0; first < kAll; first += kVectors) {
      const V* in = rows + group->row * kAll + first;
      int r = 0;
      for (; r + kRowsAtOnce <= group->height; r += kRowsAtOnce) {
        scatter_part<T, kAll, kRowsAtOnce, kVectors>(in + r * kAll, values + r * n, columns, n,
                                                     panel + first);
      }
      for (; r < group->height; ++r) {
        scatter_part<T, kAll, 1, kVectors>(in + r * kAll, values + r * n, columns, n,
                                           panel + first);
      }
    }
    columns += n;
    values += n * group->height;
  }
}

// A vector of one pair of numbers, again and again: one load that broadcasts.
template <class T>
TOKFRAG_INLINE typename Simd<T>::Native repeat_pair(const T* pair) {
  using V = typename Simd<T>::Native;
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    double both;
    std::memcpy(&both, pair, sizeof both);
#if defined(__AVX512F__)
    return V(_mm512_set1_pd(both));
#else
    return V(_mm256_set1_pd(both));
#endif
  } else {
#if defined(__AVX512F__)
    return V(_mm512_maskz_broadcast_f64x2(0xff, _mm_loadu_pd(pair)));
#else
    const __m128d both = _mm_loadu_pd(pair);
    return V(_mm256_insertf128_pd(_mm256_castpd128_pd256(both), both, 1));
#endif
  }
#else
  V repeated;
  for (int k = 0; k < Simd<T>::kWidth; ++k) repeated[k] = pair[k % 2];
  return repeated;
#endif
}

// Columns whose sums stand in registers together, each eight rows by two.
template <class T>
constexpr int kColumnsAtOnce = 8 * kVectorBytes / 64 * 4 / static_cast<int>(sizeof(T));

template <class T, int kColumns>
TOKFRAG_INLINE void sample_columns(const T* panel, const T* pairs, std::int64_t lanes,
                                   const std::uint8_t* columns, bool fresh, T* sums_address) {
  using V = typename Simd<T>::Native;
  constexpr int kParts = 2 * kGroupRows / Simd<T>::kWidth;
  auto* sums = reinterpret_cast<V*>(sums_address);
  const T* in[kColumns];
  V sum[kColumns][kParts];
#pragma GCC unroll 8
  for (int c = 0; c < kColumns; ++c) {
    in[c] = panel + columns[c] * lanes;
#pragma GCC unroll 8
    for (int p = 0; p < kParts; ++p) sum[c][p] = fresh ? V{} : sums[c * kParts + p];
  }
  for (std::int64_t lane = 0; lane < lanes; lane += 2) {
    const V* rows = reinterpret_cast<const V*>(pairs + lane * kGroupRows);
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      const V both = repeat_pair(in[c] + lane);
#pragma GCC unroll 8
      for (int p = 0; p < kParts; ++p) sum[c][p] += rows[p] * both;
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < kColumns; ++c) {
#pragma GCC unroll 8
    for (int p = 0; p < kParts; ++p) sums[c * kParts + p] = sum[c][p];
  }
}

// `some` of at most kColumns columns.
template <class T, int kColumns>
TOKFRAG_INLINE void sample_some(int some, const T* panel, const T* pairs, std::int64_t lanes,
                                const std::uint8_t* columns, bool fresh, T* sums) {
  if constexpr (kColumns > 0) {
    if (some == kColumns) {
      sample_columns<T, kColumns>(panel, pairs, lanes, columns, fresh, sums);
    } else {
      sample_some<T, kColumns - 1>(some, panel, pairs, lanes, columns, fresh, sums);
    }
  }
}

template <class T>
void sample(const void* panel_address, const void* pairs_address, std::int64_t lanes,
            const std::uint8_t* columns, const RowGroup* groups, std::int64_t count, bool fresh,
            void* sums_address) {
  constexpr int kMost = kColumnsAtOnce<T>;
  const auto* panel = static_cast<const T*>(panel_address);
  const auto* pairs = static_cast<const T*>(pairs_address);
  auto* sums = static_cast<T*>(sums_address);
  for (const RowGroup* group = groups; group < groups + count; ++group) {
    // Pieces of about equal width: a short one would wait for its additions.
    int left = group->count;
    for (int pieces = (left + kMost - 1) / kMost; pieces > 0; --pieces) {
      const int some = (left + pieces - 1) / pieces;
      sample_some<T, kMost>(some, panel, pairs + group->row * lanes, lanes, columns, fresh, sums);
      columns += some;
      sums += some * 2 * kGroupRows;
      left -= some;
    }
  }
}

// The first `count` numbers, zeros after them.
template <class T>
TOKFRAG_INLINE typename Simd<T>::Native load_some(const T* from, int count) {
  using V = typename Simd<T>::Native;
#if defined(__AVX512F__)
  const unsigned some = (1u << static_cast<unsigned>(count)) - 1u;
  if constexpr (sizeof(T) == 4) {
    return V(_mm512_maskz_loadu_ps(static_cast<__mmask16>(some), from));
  } else {
    return V(_mm512_maskz_loadu_pd(static_cast<__mmask8>(some), from));
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return V(_mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), places)));
  } else {
    const __m256i places = _mm256_setr_epi64x(0, 1, 2, 3);
    return V(_mm256_maskload_pd(from, _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), places)));
  }
#else
  V some = {};
  std::memcpy(&some, from, static_cast<std::size_t>(count) * sizeof(T));
  return some;
#endif
}

template <class T, int kRows>
TOKFRAG_INLINE void dot_rows(const T* values, const T* inputs, int count,
                             typename Simd<T>::Native (&sums)[kRows]) {
  using V = typename Simd<T>::Native;
  typedef T Loose __attribute__((vector_size(kVectorBytes), may_alias, aligned(sizeof(T))));
  constexpr int kWidth = Simd<T>::kWidth;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) sums[r] = V{};
  int n = 0;
  for (; n + kWidth <= count; n += kWidth) {
    const V in = *reinterpret_cast<const Loose*>(inputs + n);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      sums[r] += in * *reinterpret_cast<const Loose*>(values + r * count + n);
    }
  }
  if (n == count) return;
  const V in = load_some(inputs + n, count - n);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) sums[r] += in * load_some(values + r * count + n, count - n);
}

// rows[r] += the sum of sums[r]; for eight rows, all at once.
template <class T, int kRows>
TOKFRAG_INLINE void add_sums(typename Simd<T>::Native (&sums)[kRows], T* rows) {
  using E = typename Simd<T>::Eight;
  constexpr int kWidth = Simd<T>::kWidth;
  if constexpr (kRows == 8 && kWidth == 16) {
    typename Simd<T>::Native groups[8][1];
    E total;
#pragma GCC unroll 8
    for (int r = 0; r < 8; ++r) groups[r][0] = sums[r];
    sum_eight<T>(groups, total);
    *reinterpret_cast<E*>(rows) += total;
  } else if constexpr (kRows == 8 && kWidth == 8) {
    Vector<T, 8> total;
    Vector<T, 8> eights[8];
#pragma GCC unroll 8
    for (int r = 0; r < 8; ++r) eights[r] = Vector<T, 8>(sums[r]);
    sum_across(eights, total);
    *reinterpret_cast<E*>(rows) += total;
  } else {
    for (int r = 0; r < kRows; ++r) {
      T total = 0;
      for (int k = 0; k < kWidth; ++k) total += sums[r][k];
      rows[r] += total;
    }
  }
}

template <class T>
TOKFRAG_INLINE void take(const T* x, std::int64_t width, const std::uint8_t* columns,
                         std::int64_t count, T* taken) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    const ChunkOfInputs inputs(x, width);
    for (std::int64_t i = 0; i < count; i += 16) {
      const auto some = static_cast<__mmask16>(
          i + 16 <= count ? 0xffffu : (1u << static_cast<unsigned>(count - i)) - 1u);
      const __m512i at = _mm512_maskz_cvtepu8_epi32(some, _mm_maskz_loadu_epi8(some, columns + i));
      _mm512_mask_storeu_ps(taken + i, some, inputs.at(at));
    }
    return;
  }
#endif
  (void)width;
  for (std::int64_t i = 0; i < count; ++i) taken[i] = x[columns[i]];
}

template <class T>
void multiply_vector(const void* x_address, std::int64_t width, const void* values_address,
                     const std::uint8_t* columns, const RowGroup* groups, std::int64_t count,
                     void* rows_address) {
  const auto* values = static_cast<const T*>(values_address);
  auto* rows = static_cast<T*>(rows_address);
  // The inputs of all groups first: a group would wait for its own to be stored.
  T taken[sparse::kMostGroupColumns];
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < count; ++i) total += groups[i].count;
  take(static_cast<const T*>(x_address), width, columns, total, taken);
  const T* inputs = taken;
  for (const RowGroup* group = groups; group < groups + count; ++group) {
    const int n = group->count;
    if (n == 0) continue;
    ask_ahead(values, n * kGroupRows);
    if (group->height == kGroupRows) {
      typename Simd<T>::Native sums[kGroupRows];
      dot_rows<T, kGroupRows>(values, inputs, n, sums);
      add_sums<T, kGroupRows>(sums, rows + group->row);
    } else {
      for (int r = 0; r < group->height; ++r) {
        typename Simd<T>::Native sum[1];
        dot_rows<T, 1>(values + r * n, inputs, n, sum);
        add_sums<T, 1>(sum, rows + group->row + r);
      }
    }
    inputs += n;
    values += n * group->height;
  }
}

}  // namespace

extern const BlockKernels sparse_block_kernels;
const BlockKernels sparse_block_kernels = {
    {{multiply<float, 16>, multiply<float, 32>, multiply<float, 64>},
     {multiply<double, 16>, multiply<double, 32>, multiply<double, 64>}},
    {{scatter<float, 16>, scatter<float, 32>, scatter<float, 64>},
     {scatter<double, 16>, scatter<double, 32>, scatter<double, 64>}},
    {sample<float>, sample<double>},
    {multiply_vector<float>, multiply_vector<double>},
};

}  // namespace tokfrag::TOKFRAG_ISA
