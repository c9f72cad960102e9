#include "sparse/products_kernel.hpp"

#include <cstring>

#include "sparse/eight_values.hpp"
#include "sparse/expand_table.hpp"
#include "sparse/lane_sums.hpp"

namespace tokfrag::TOKFRAG_ISA {

using sparse::ProductKernels;

namespace {

// sum += values[k] * panel[local[k]] for k below kCount: all indices in one load.
template <int kCount, class T, int kVectors>
TOKFRAG_INLINE void add_columns(const typename Simd<T>::Native* panel, const T* values,
                                const std::uint8_t* local,
                                typename Simd<T>::Native (&sum)[kVectors]) {
  std::uint64_t columns = 0;
  std::memcpy(&columns, local, kCount);
#pragma GCC unroll 8
  for (int k = 0; k < kCount; ++k) {
    const auto* in = panel + (columns >> (8 * k) & 0xff) * kVectors;
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) sum[v] += in[v] * values[k];
  }
}

// Adds values[n] * panel[local[n]] for n below `count`: eights, then four, two and one, which is
// three branches where a loop of as many as are left would be mispredicted.
template <class T, int kVectors>
TOKFRAG_INLINE void add_run(const typename Simd<T>::Native* panel, const T* values,
                            const std::uint8_t* local, std::size_t count,
                            typename Simd<T>::Native (&sum)[kVectors]) {
  std::size_t n = 0;
  for (; n < (count & ~std::size_t{7}); n += 8) add_columns<8>(panel, values + n, local + n, sum);
  if ((count & 4) != 0) {
    add_columns<4>(panel, values + n, local + n, sum);
    n += 4;
  }
  if ((count & 2) != 0) {
    add_columns<2>(panel, values + n, local + n, sum);
    n += 2;
  }
  if ((count & 1) != 0) add_columns<1>(panel, values + n, local + n, sum);
}

template <class T, int kVectors>
TOKFRAG_INLINE void multiply_row(const typename Simd<T>::Native* panel, const T* values,
                                 const std::uint8_t* local, std::size_t count,
                                 typename Simd<T>::Native* out) {
  typename Simd<T>::Native sum[kVectors];
#pragma GCC unroll 32
  for (int v = 0; v < kVectors; ++v) sum[v] = out[v];
  add_run<T, kVectors>(panel, values, local, count, sum);
#pragma GCC unroll 32
  for (int v = 0; v < kVectors; ++v) out[v] = sum[v];
}

// kRows runs side by side, for long ones: the sums of one alone would wait for one another. Runs
// are sorted by length, so what neighbours do not share is short. Returns how many non-zeros.
template <class T, int kVectors, int kRows>
TOKFRAG_INLINE std::size_t multiply_rows(const typename Simd<T>::Native* panel, const T* values,
                                         const std::uint8_t* local, const std::uint8_t* runs,
                                         typename Simd<T>::Native* rows) {
  using V = typename Simd<T>::Native;
  V sum[kRows][kVectors];
  std::size_t start[kRows];
  std::size_t total = 0;
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    start[r] = total;
    total += runs[2 * r + 1];
    const V* out = rows + std::size_t{runs[2 * r]} * kVectors;
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) sum[r][v] = out[v];
  }
  const std::size_t shared = runs[1] & ~std::size_t{3};
  for (std::size_t n = 0; n < shared; n += 4) {  // four indices in one load: loads are short
    std::uint32_t columns[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) std::memcpy(&columns[r], local + start[r] + n, 4);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const V* in = panel + std::size_t{columns[r] >> (8 * k) & 0xff} * kVectors;
        const T value = values[start[r] + n + static_cast<std::size_t>(k)];
#pragma GCC unroll 32
        for (int v = 0; v < kVectors; ++v) sum[r][v] += in[v] * value;
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const std::size_t begin = start[r] + shared;
    add_run<T, kVectors>(panel, values + begin, local + begin, runs[2 * r + 1] - shared, sum[r]);
    V* out = rows + std::size_t{runs[2 * r]} * kVectors;
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) out[v] = sum[r][v];
  }
  return total;
}

template <class T, int kLanes>
void multiply(const void* panel_address, const void* values_address, const std::uint8_t* local,
              const std::uint8_t* runs, std::int64_t block_rows, void* rows_address) {
  using V = typename Simd<T>::Native;
  constexpr int kVectors = kLanes / Simd<T>::kWidth;
  constexpr int kRows = kVectors >= 2 ? 2 : 4;
  // From this length on rows go side by side (measured on Zen 5); with eight sums a row, never.
  constexpr std::size_t kLong = kVectors >= 8 ? 256 : kVectors == 4 ? 48 : kVectors == 2 ? 36 : 20;
  const auto* panel = static_cast<const V*>(panel_address);
  const auto* values = static_cast<const T*>(values_address);
  auto* rows = static_cast<V*>(rows_address);
  const std::uint8_t* end = runs + 2 * block_rows;
  while (runs < end && runs[1] == 0) runs += 2;  // empty runs come first
  while (runs < end) {
    const std::size_t count = runs[1];
    if (count >= kLong && end - runs >= 2 * kRows) {
      const std::size_t total = multiply_rows<T, kVectors, kRows>(panel, values, local, runs, rows);
      values += total;
      local += total;
      runs += 2 * kRows;
    } else {
      V* out = rows + std::size_t{runs[0]} * kVectors;
      multiply_row<T, kVectors>(panel, values, local, count, out);
      values += count;
      local += count;
      runs += 2;
    }
  }
}

template <class T, int kLanes>
void sample(const void* panel_address, const void* rows_address, const std::uint8_t* local,
            const std::uint8_t* runs, std::int64_t block_rows, void* out_address) {
  using V = typename Simd<T>::Native;
  using E = typename Simd<T>::Eight;
  constexpr int kVectors = kLanes / Simd<T>::kWidth;
  constexpr int kParts = kGroupParts;
  const auto* panel = static_cast<const V*>(panel_address);
  const auto* rows = static_cast<const V*>(rows_address);
  auto* out = static_cast<T*>(out_address);
  for (std::int64_t i = 0; i < block_rows; ++i) {
    const int count = runs[2 * i + 1];
    if (count == 0) continue;
    V row[kVectors];
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) row[v] = rows[runs[2 * i] * kVectors + v];
    const auto dot = [&](std::uint32_t column, V(&parts)[kParts]) __attribute__((always_inline)) {
      const V* in = panel + column * kVectors;
#pragma GCC unroll 8
      for (int p = 0; p < kParts; ++p) parts[p] = row[p] * in[p];
#pragma GCC unroll 32
      for (int v = kParts; v < kVectors; ++v) parts[v % kParts] += row[v] * in[v];
    };
    int n = 0;
    for (; n + 8 <= count; n += 8) {
      std::uint64_t columns;
      std::memcpy(&columns, local + n, 8);
      V sums[8][kParts];
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) dot((columns >> (8 * k)) & 0xff, sums[k]);
      E total;
      sum_eight<T>(sums, total);
      E* place = reinterpret_cast<E*>(out + n);
      *place += total;
    }
    if (n < count) {
      // Dots past the end are made and not used: a loop of their number would go through memory.
      V sums[8][kParts] = {};
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) dot(local[n + k < count ? n + k : n], sums[k]);
      if (n + 4 < count) {
#pragma GCC unroll 4
        for (int k = 4; k < 8; ++k) dot(local[n + k < count ? n + k : n], sums[k]);
      }
      E total;
      sum_eight<T>(sums, total);
      for (int k = 0; k < count - n; ++k) out[n + k] += total[k];
    }
    local += count;
    out += count;
  }
}

template <class T>
void multiply_vector(const void* x_address, std::int64_t, const void* values_address,
                     const std::uint8_t* local, const std::uint8_t* runs, std::int64_t block_rows,
                     void* rows_address) {
  const auto* x = static_cast<const T*>(x_address);
  const auto* values = static_cast<const T*>(values_address);
  auto* rows = static_cast<T*>(rows_address);
  for (std::int64_t i = 0; i < block_rows; ++i) {
    const int count = runs[2 * i + 1];
    ask_ahead(values, count);
    T sum[4] = {};
    int n = 0;
    for (; n + 4 <= count; n += 4) {
      for (int k = 0; k < 4; ++k) sum[k] += values[n + k] * x[local[n + k]];
    }
    for (; n < count; ++n) sum[0] += values[n] * x[local[n]];
    T* out = rows + runs[2 * i] * 16;
    for (int k = 0; k < 4; ++k) out[k] += sum[k];
    local += count;
    values += count;
  }
}

#if defined(__AVX512F__)
template <>
void multiply_vector<float>(const void* x_address, std::int64_t width, const void* values_address,
                            const std::uint8_t* local, const std::uint8_t* runs,
                            std::int64_t block_rows, void* rows_address) {
  const ChunkOfInputs x(static_cast<const float*>(x_address), width);
  const auto* values = static_cast<const float*>(values_address);
  auto* rows = static_cast<float*>(rows_address);
  for (std::int64_t i = 0; i < block_rows; ++i) {
    const int count = runs[2 * i + 1];
    ask_ahead(values, count);
    float* out = rows + runs[2 * i] * 16;
    __m512 sum = _mm512_load_ps(out);
    for (int n = 0; n < count; n += 16) {
      const auto some = static_cast<__mmask16>(
          n + 16 <= count ? 0xffffu : (1u << static_cast<unsigned>(count - n)) - 1u);
      const __m512i at = _mm512_maskz_cvtepu8_epi32(some, _mm_maskz_loadu_epi8(some, local + n));
      // Lanes past the end keep their sums: zero times an infinite input would spoil them.
      sum = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(some, values + n), x.at(at), sum, some);
    }
    _mm512_store_ps(out, sum);
    local += count;
    values += count;
  }
}
#endif

// Runs whose values are read in whole vectors, also past their end: the last ones, behind which the
// values end, are read from a copy.
template <class E>
class Readable {
 public:
  const E* of(const E* values, int count, const E* end) {
    if (values + count + kMost <= end) return values;
    std::memcpy(copy_, values, static_cast<std::size_t>(count) * sizeof(E));
    return copy_;
  }

 private:
  static constexpr int kMost = 16;
  E copy_[128 + kMost] = {};
};

#if defined(__AVX512F__)
// With a mask of all lanes: the plain intrinsics of GCC 12 read an uninitialised vector.
constexpr __mmask16 kAll = 0xffff;

TOKFRAG_INLINE __m512 load_values(const float* from) { return _mm512_loadu_ps(from); }
TOKFRAG_INLINE __m512 load_values(const Half* from) {
  return _mm512_maskz_cvtph_ps(kAll, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
TOKFRAG_INLINE __m512 load_values(const BFloat16* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(
      _mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, bits), 16));
}

// Expands values under a mask. GCC would fold the load into the expansion, which then takes 1.6
// times as long: the empty statement keeps them apart.
TOKFRAG_INLINE __m512 expanded(__mmask16 kept, __m512 values) {
  asm("" : "+v"(values));
  return _mm512_maskz_expand_ps(kept, values);
}

// Four sums side by side hide the latency of an addition. Where an input is infinite or NaN, what
// is not stored must not meet it, and every multiply-add has a mask; else zeros do no harm.
template <class E, bool kFinite>
TOKFRAG_INLINE void multiply_masked_by(const ChunkOfInputs& x, const E* values, const E* end,
                                       const std::uint64_t* masks, const std::uint8_t* runs,
                                       std::int64_t block_rows, float* rows) {
  constexpr int kSums = 4;
  Readable<E> readable;
  for (std::int64_t i = 0; i < block_rows; ++i) {
    const int count = runs[2 * i + 1];
    ask_ahead(values, count);
    float* out = rows + runs[2 * i] * 16;
    __m512 sums[kSums] = {_mm512_load_ps(out)};
    const E* next = readable.of(values, count, end);
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      const auto kept = static_cast<__mmask16>(masks[2 * i + k / 4] >> (16 * (k % 4)));
      const __m512 part = expanded(kept, load_values(next));
      __m512& sum = sums[k % kSums];
      sum = kFinite ? _mm512_fmadd_ps(part, x.x[k], sum)
                    : _mm512_mask3_fmadd_ps(part, x.x[k], sum, kept);
      next += __builtin_popcount(kept);
    }
    _mm512_store_ps(out, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    values += count;
  }
}

template <class E>
void multiply_masked(const float* x_address, std::int64_t width, const void* values_address,
                     const void* end_address, const std::uint64_t* masks, const std::uint8_t* runs,
                     std::int64_t block_rows, float* rows) {
  const ChunkOfInputs x(x_address, width);
  const auto* values = static_cast<const E*>(values_address);
  const auto* end = static_cast<const E*>(end_address);
  if (x.finite()) {
    multiply_masked_by<E, true>(x, values, end, masks, runs, block_rows, rows);
  } else {
    multiply_masked_by<E, false>(x, values, end, masks, runs, block_rows, rows);
  }
}
#elif defined(__AVX2__)

template <class E>
void multiply_masked(const float* x_address, std::int64_t width, const void* values_address,
                     const void* end, const std::uint64_t* masks, const std::uint8_t* runs,
                     std::int64_t block_rows, float* rows) {
  alignas(64) float x[128] = {};
  std::memcpy(x, x_address, static_cast<std::size_t>(width) * sizeof(float));
  const auto* values = static_cast<const E*>(values_address);
  Readable<E> readable;
  for (std::int64_t i = 0; i < block_rows; ++i) {
    const int count = runs[2 * i + 1];
    ask_ahead(values, count);
    float* out = rows + runs[2 * i] * 16;
    __m256 sums[2] = {_mm256_load_ps(out), _mm256_load_ps(out + 8)};
    const E* next = readable.of(values, count, static_cast<const E*>(end));
    for (int k = 0; k < 16; ++k) {
      const auto kept = static_cast<std::uint8_t>(masks[2 * i + k / 8] >> (8 * (k % 8)));
      const __m256i source = _mm256_cvtepu8_epi32(
          _mm_loadl_epi64(reinterpret_cast<const __m128i*>(sparse::kExpand.source[kept])));
      const __m256 none = _mm256_castsi256_ps(_mm256_cmpgt_epi32(source, _mm256_set1_epi32(7)));
      const __m256 expanded =
          _mm256_andnot_ps(none, _mm256_permutevar8x32_ps(load_eight_values(next), source));
      const __m256 inputs = _mm256_andnot_ps(none, _mm256_load_ps(x + 8 * k));  // may be infinite
      sums[k & 1] = _mm256_fmadd_ps(expanded, inputs, sums[k & 1]);
      next += __builtin_popcount(kept);
    }
    _mm256_store_ps(out, sums[0]);
    _mm256_store_ps(out + 8, sums[1]);
    values += count;
  }
}
#endif

}  // namespace

extern const ProductKernels sparse_product_kernels;
const ProductKernels sparse_product_kernels = {
    {{multiply<float, 16>, multiply<float, 32>, multiply<float, 64>},
     {multiply<double, 16>, multiply<double, 32>, multiply<double, 64>}},
    {{sample<float, 16>, sample<float, 32>, sample<float, 64>},
     {sample<double, 16>, sample<double, 32>, sample<double, 64>}},
    {multiply_vector<float>, multiply_vector<double>},
#if defined(__AVX2__)
    {multiply_masked<float>, nullptr, multiply_masked<Half>, multiply_masked<BFloat16>},
#else
    {},
#endif
};

}  // namespace tokfrag::TOKFRAG_ISA
