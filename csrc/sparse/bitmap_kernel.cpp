#include "sparse/bitmap_kernel.hpp"

#include <algorithm>

#include "core/half.hpp"
#include "core/simd.hpp"
#include "sparse/eight_values.hpp"
#include "sparse/expand_table.hpp"

namespace tokfrag::TOKFRAG_ISA {

using sparse::BitmapKernels;
using sparse::BitmapRows;

namespace {

// Asks for what stands two kilobytes ahead: one stream alone keeps too few lines on their way.
TOKFRAG_INLINE void ask_for(const void* from) {
  __builtin_prefetch(static_cast<const char*>(from) + 2048);
}

// Exact sums of 32 bits: a lane gets 8 products a word, each below 2^22, so 2^31 holds 64 words.
constexpr std::int64_t kExactWords = 64;

// Calls sum_words(values, first, last, totals) for each stretch of a row with one scale, and writes
// the rows' sums; sum_words adds exact totals, one an input, and returns where values end.
template <int kInputs, class SumWords>
TOKFRAG_INLINE void sum_by_groups(const BitmapRows& rows, const float* scales,
                                  std::int64_t group_words, double* out, std::int64_t stride,
                                  const SumWords& sum_words) {
  const auto* values = static_cast<const std::int8_t*>(rows.values);
  for (std::int64_t r = 0; r < rows.count; ++r) {
    const std::uint64_t* bitmap = rows.bitmap + r * rows.words;
    double sums[kInputs] = {};
    for (std::int64_t group = 0; group < rows.words; group += group_words) {
      const std::int64_t group_end = std::min(rows.words, group + group_words);
      std::int64_t totals[kInputs] = {};
      for (std::int64_t first = group; first < group_end; first += kExactWords) {
        values = sum_words(values, bitmap, first, std::min(group_end, first + kExactWords), totals);
      }
      const double scale = static_cast<double>(*scales++);
      for (int i = 0; i < kInputs; ++i) sums[i] += static_cast<double>(totals[i]) * scale;
    }
    for (int i = 0; i < kInputs; ++i) out[i * stride + r] = sums[i];
  }
}

#if defined(__AVX2__)
TOKFRAG_INLINE __m128i load_eight(const void* from) {
  return _mm_loadl_epi64(static_cast<const __m128i*>(from));
}
TOKFRAG_INLINE float sum_of(__m256 lanes) {
  const __m128 fours = _mm256_castps256_ps128(lanes) + _mm256_extractf128_ps(lanes, 1);
  const __m128 twos = fours + _mm_movehl_ps(fours, fours);
  return _mm_cvtss_f32(twos) + _mm_cvtss_f32(_mm_movehdup_ps(twos));
}

// Eight columns of a row: their values, zero where none is stored. A look-up of their order and a
// permute: 512-bit expansions take 6 cycles on Zen 5 whatever they expand, this for all 16 takes 4.
struct Eight {
  __m256 values;
#if defined(__AVX512VL__)
  __mmask8 kept;

  Eight(std::uint8_t bits, __m256 loaded) : kept(bits) {
    const __m256i order = _mm256_cvtepu8_epi32(load_eight(sparse::kExpand.source[bits]));
    values = _mm256_maskz_permutexvar_ps(kept, order, loaded);
  }
  // sum + values * inputs where values are stored, for inputs that may be infinite or NaN.
  TOKFRAG_INLINE __m256 add_where_kept(__m256 inputs, __m256 sum) const {
    return _mm256_mask3_fmadd_ps(values, inputs, sum, kept);
  }
#else
  __m256 none;

  Eight(std::uint8_t bits, __m256 loaded) {
    const __m256i order = _mm256_cvtepu8_epi32(load_eight(sparse::kExpand.source[bits]));
    none = _mm256_castsi256_ps(_mm256_cmpgt_epi32(order, _mm256_set1_epi32(7)));
    values = _mm256_andnot_ps(none, _mm256_permutevar8x32_ps(loaded, order));
  }
  TOKFRAG_INLINE __m256 add_where_kept(__m256 inputs, __m256 sum) const {
    return _mm256_fmadd_ps(values, _mm256_andnot_ps(none, inputs), sum);
  }
#endif
};

template <class E, int kInputs, bool kFinite>
TOKFRAG_INLINE void multiply_rows(const BitmapRows& rows, const float* x, float* out,
                                  std::int64_t stride) {
  constexpr int kSums = kInputs == 4 ? 2 : 4;  // side by side, to hide an addition's latency
  const auto* next = static_cast<const E*>(rows.values);
  const std::uint64_t* bitmap = rows.bitmap;
  const std::int64_t width = rows.words * 64;
  for (std::int64_t r = 0; r < rows.count; ++r) {
    __m256 sums[kInputs][kSums] = {};
    for (std::int64_t w = 0; w < rows.words; ++w) {
      const std::uint64_t word = *bitmap++;
      ask_for(next);
      if (sizeof(E) == 4) ask_for(next + 16);
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) {
        // Places by counts of the bits before, which wait for nothing.
        const int before = k == 0 ? 0 : __builtin_popcountll(word << (64 - 8 * k));
        const Eight eight(static_cast<std::uint8_t>(word >> (8 * k)),
                          load_eight_values(next + before));
#pragma GCC unroll 4
        for (int i = 0; i < kInputs; ++i) {
          const __m256 inputs = _mm256_loadu_ps(x + i * width + w * 64 + k * 8);
          __m256& sum = sums[i][k % kSums];
          sum = kFinite ? _mm256_fmadd_ps(eight.values, inputs, sum)
                        : eight.add_where_kept(inputs, sum);
        }
      }
      next += __builtin_popcountll(word);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) {
      __m256 sum = sums[i][0] + sums[i][1];
      if constexpr (kSums == 4) sum += sums[i][2] + sums[i][3];
      out[i * stride + r] = sum_of(sum);
    }
  }
}

template <class E, int kInputs>
void multiply(const BitmapRows& rows, const float* x, bool finite, float* out,
              std::int64_t stride) {
  if (finite) {
    multiply_rows<E, kInputs, true>(rows, x, out, stride);
  } else {
    multiply_rows<E, kInputs, false>(rows, x, out, stride);
  }
}

template <int kInputs>
void multiply_codes_by_table(const BitmapRows& rows, const std::int16_t* x, const float* scales,
                             std::int64_t group_words, double* out, std::int64_t stride) {
  constexpr int kSums = kInputs == 4 ? 1 : 2;
  const std::int64_t width = rows.words * 64;
  sum_by_groups<kInputs>(
      rows, scales, group_words, out, stride,
      [&](const std::int8_t* next, const std::uint64_t* bitmap, std::int64_t first,
          std::int64_t last, std::int64_t* totals) __attribute__((always_inline)) {
        __m256i sums[kInputs][kSums] = {};
        for (std::int64_t w = first; w < last; ++w) {
          const std::uint64_t word = bitmap[w];
          ask_for(next);
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) {
            const int low = k == 0 ? 0 : __builtin_popcountll(word << (64 - 16 * k));
            const int high = __builtin_popcountll(word << (56 - 16 * k));
            const std::uint8_t* low_order = sparse::kExpand.source[(word >> (16 * k)) & 0xff];
            const std::uint8_t* high_order = sparse::kExpand.source[(word >> (16 * k + 8)) & 0xff];
            const __m256i codes = _mm256_cvtepi8_epi16(_mm_unpacklo_epi64(
                _mm_shuffle_epi8(load_eight(next + low), load_eight(low_order)),
                _mm_shuffle_epi8(load_eight(next + high), load_eight(high_order))));
#pragma GCC unroll 4
            for (int i = 0; i < kInputs; ++i) {
              const __m256i inputs = _mm256_loadu_si256(
                  reinterpret_cast<const __m256i*>(x + i * width + w * 64 + k * 16));
              __m256i& sum = sums[i][k % kSums];
              sum = _mm256_add_epi32(sum, _mm256_madd_epi16(codes, inputs));
            }
          }
          next += __builtin_popcountll(word);
        }
#pragma GCC unroll 4
        for (int i = 0; i < kInputs; ++i) {
          __m256i sum = sums[i][0];
          if constexpr (kSums == 2) sum = _mm256_add_epi32(sum, sums[i][1]);
          alignas(32) std::int32_t lanes[8];
          _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum);
          for (const std::int32_t lane : lanes) totals[i] += lane;
        }
        return next;
      });
}

#if defined(__AVX512F__)
// Ice Lake, Zen 4 and later expand 64 bytes at once (1.4 times as fast as by table) and multiply
// 16-bit numbers into sums. Written out, for a function's instruction set does not reach into a
// lambda; masks of all lanes, for the plain intrinsics of GCC 12 read an uninitialised vector.
template <int kInputs>
__attribute__((target("avx512vbmi2,avx512vnni"))) void multiply_codes_by_expansion(
    const BitmapRows& rows, const std::int16_t* x, const float* scales, std::int64_t group_words,
    double* out, std::int64_t stride) {
  const std::int64_t width = rows.words * 64;
  const auto* next = static_cast<const std::int8_t*>(rows.values);
  const std::uint64_t* bitmap = rows.bitmap;
  for (std::int64_t r = 0; r < rows.count; ++r) {
    double line[kInputs] = {};
    for (std::int64_t group = 0; group < rows.words; group += group_words) {
      const std::int64_t group_end = std::min(rows.words, group + group_words);
      std::int64_t totals[kInputs] = {};
      for (std::int64_t first = group; first < group_end; first += kExactWords) {
        const std::int64_t last = std::min(group_end, first + kExactWords);
        __m512i sums[kInputs][2] = {};
        for (std::int64_t w = first; w < last; ++w) {
          const std::uint64_t word = *bitmap++;
          ask_for(next);
          __m512i loaded = _mm512_loadu_si512(next);
          asm("" : "+v"(loaded));  // GCC would fold the load into the expansion, which is slower
          const __m512i codes = _mm512_maskz_expand_epi8(word, loaded);
          next += __builtin_popcountll(word);
          const __m512i low =
              _mm512_maskz_cvtepi8_epi16(~0u, _mm512_maskz_extracti64x4_epi64(0xf, codes, 0));
          const __m512i high =
              _mm512_maskz_cvtepi8_epi16(~0u, _mm512_maskz_extracti64x4_epi64(0xf, codes, 1));
#pragma GCC unroll 4
          for (int i = 0; i < kInputs; ++i) {
            const std::int16_t* inputs = x + i * width + w * 64;
            sums[i][0] = _mm512_dpwssd_epi32(sums[i][0], low, _mm512_loadu_si512(inputs));
            sums[i][1] = _mm512_dpwssd_epi32(sums[i][1], high, _mm512_loadu_si512(inputs + 32));
          }
        }
#pragma GCC unroll 4
        for (int i = 0; i < kInputs; ++i) {
          alignas(64) std::int32_t lanes[16];
          _mm512_store_si512(lanes, _mm512_add_epi32(sums[i][0], sums[i][1]));
          for (const std::int32_t lane : lanes) totals[i] += lane;
        }
      }
      const double scale = static_cast<double>(*scales++);
      for (int i = 0; i < kInputs; ++i) line[i] += static_cast<double>(totals[i]) * scale;
    }
    for (int i = 0; i < kInputs; ++i) out[i * stride + r] = line[i];
  }
}

bool expands_bytes() {
  static const bool found =
      __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni");
  return found;
}
#endif

template <int kInputs>
void multiply_codes(const BitmapRows& rows, const std::int16_t* x, const float* scales,
                    std::int64_t group_words, double* out, std::int64_t stride) {
#if defined(__AVX512F__)
  if (expands_bytes()) {
    multiply_codes_by_expansion<kInputs>(rows, x, scales, group_words, out, stride);
    return;
  }
#endif
  multiply_codes_by_table<kInputs>(rows, x, scales, group_words, out, stride);
}
#else
template <class E, int kInputs>
void multiply(const BitmapRows& rows, const float* x, bool, float* out, std::int64_t stride) {
  const auto* next = static_cast<const E*>(rows.values);
  const std::uint64_t* bitmap = rows.bitmap;
  const std::int64_t width = rows.words * 64;
  for (std::int64_t r = 0; r < rows.count; ++r) {
    float sums[kInputs] = {};
    for (std::int64_t w = 0; w < rows.words; ++w) {
      for (std::uint64_t word = *bitmap++; word != 0; word &= word - 1) {
        const float value = widen(*next++);
        const float* inputs = x + w * 64 + __builtin_ctzll(word);
        for (int i = 0; i < kInputs; ++i) sums[i] += value * inputs[i * width];
      }
    }
    for (int i = 0; i < kInputs; ++i) out[i * stride + r] = sums[i];
  }
}

template <int kInputs>
void multiply_codes(const BitmapRows& rows, const std::int16_t* x, const float* scales,
                    std::int64_t group_words, double* out, std::int64_t stride) {
  const std::int64_t width = rows.words * 64;
  sum_by_groups<kInputs>(rows, scales, group_words, out, stride,
                         [&](const std::int8_t* next, const std::uint64_t* bitmap,
                             std::int64_t first, std::int64_t last, std::int64_t* totals) {
                           for (std::int64_t w = first; w < last; ++w) {
                             for (std::uint64_t word = bitmap[w]; word != 0; word &= word - 1) {
                               const std::int64_t code = *next++;
                               const std::int16_t* inputs = x + w * 64 + __builtin_ctzll(word);
                               for (int i = 0; i < kInputs; ++i)
                                 totals[i] += code * inputs[i * width];
                             }
                           }
                           return next;
                         });
}
#endif

}  // namespace

extern const BitmapKernels sparse_bitmap_kernels;
const BitmapKernels sparse_bitmap_kernels = {
    {{multiply<float, 1>, multiply<float, 2>, multiply<float, 4>},
     {},
     {multiply<Half, 1>, multiply<Half, 2>, multiply<Half, 4>},
     {multiply<BFloat16, 1>, multiply<BFloat16, 2>, multiply<BFloat16, 4>}},
    {multiply_codes<1>, multiply_codes<2>, multiply_codes<4>},
};

}  // namespace tokfrag::TOKFRAG_ISA
