#include "fragments/merge_tile_kernel.hpp"

#include <type_traits>

#include "fragments/merge_numbers.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// A register of doubles, and the same many narrower numbers (GNU vector extensions).
#if defined(__AVX512F__)
constexpr int kLanes = 8;
#elif defined(__AVX__)
constexpr int kLanes = 4;
#else
constexpr int kLanes = 2;
#endif
typedef double Doubles __attribute__((vector_size(kLanes * 8)));
typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef std::uint32_t Words __attribute__((vector_size(kLanes * 4)));
typedef std::uint16_t Shorts __attribute__((vector_size(kLanes * 2)));

template <class V>
inline V load_as(const void* from) {
  V value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline Doubles load(const float* from) {
  return __builtin_convertvector(load_as<Floats>(from), Doubles);
}
inline Doubles load(const double* from) { return load_as<Doubles>(from); }
inline Doubles load(const BFloat16* from) {
  const Words words = __builtin_convertvector(load_as<Shorts>(from), Words) << 16;
  return __builtin_convertvector(bits_as<Floats>(words), Doubles);
}
inline Doubles load(const Half* from) {
#if defined(__AVX512F__)
  const __m256 eight = _mm256_cvtph_ps(load_as<__m128i>(from));
  return __builtin_convertvector(bits_as<Floats>(eight), Doubles);
#elif defined(__F16C__)
  const __m128i four = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return bits_as<Doubles>(_mm256_cvtps_pd(_mm_cvtph_ps(four)));
#else
  Doubles value;
  for (int i = 0; i < kLanes; ++i) value[i] = as_double(from[i]);
  return value;
#endif
}
template <class T>
inline Doubles load(const T* from) {
  typedef T Numbers __attribute__((vector_size(kLanes * sizeof(T))));
  return __builtin_convertvector(load_as<Numbers>(from), Doubles);
}

template <class T>
inline void store(T* to, Doubles value) {
  for (int i = 0; i < kLanes; ++i) store_number(value[i], to[i]);
}
inline void store(double* to, Doubles value) { std::memcpy(to, &value, sizeof value); }
inline void store(float* to, Doubles value) {
  const Floats narrowed = __builtin_convertvector(value, Floats);
  std::memcpy(to, &narrowed, sizeof narrowed);
}
inline void store(BFloat16* to, Doubles value) {
  const Words all = bits_as<Words>(__builtin_convertvector(value, Floats));
  const Words rounded = (all + 0x7fffu + ((all >> 16) & 1u)) >> 16;
  const Words nan = static_cast<Words>((all & 0x7fffffffu) > 0x7f800000u);
  const Words result = (nan & 0x7fc0u) | (~nan & rounded);
  const Shorts narrowed = __builtin_convertvector(result, Shorts);
  std::memcpy(to, &narrowed, sizeof narrowed);
}
#if defined(__F16C__)
inline void store(Half* to, Doubles value) {
  const Floats wide = __builtin_convertvector(value, Floats);
  // Every NaN becomes the one that narrow makes.
  const Words nan = static_cast<Words>(wide != wide);
  const Words bits = (nan & 0x7fc00000u) | (~nan & bits_as<Words>(wide));
#if defined(__AVX512F__)
  const __m128i narrowed = _mm256_cvtps_ph(bits_as<__m256>(bits), _MM_FROUND_TO_NEAREST_INT);
  std::memcpy(to, &narrowed, 16);
#else
  const __m128i narrowed = _mm_cvtps_ph(bits_as<__m128>(bits), _MM_FROUND_TO_NEAREST_INT);
  std::memcpy(to, &narrowed, 8);
#endif
}
#endif

// Around the cache; `to` is aligned to the vector.
template <class T>
inline void stream(T* to, Doubles value) {
  store(to, value);
}
#if defined(__AVX512F__)
inline void stream(float* to, Doubles value) {
  _mm256_stream_ps(to, bits_as<__m256>(__builtin_convertvector(value, Floats)));
}
#elif defined(__AVX__)
inline void stream(float* to, Doubles value) {
  _mm_stream_ps(to, bits_as<__m128>(__builtin_convertvector(value, Floats)));
}
#endif

// By subtraction: adding to zeros would turn -0.0 into 0.0.
inline Doubles splat(double value) { return value - Doubles{}; }

// One output row's `Count` registers, from number `at` on.
template <class T, int Count, bool kWeighted>
inline void sum_places(const MergeTile& tile, const TileRow& row, const TileColumn& column,
                       std::int64_t at, Doubles (&sum)[Count]) {
  const char* base = tile.fragments + column.offset + at * static_cast<std::int64_t>(sizeof(T));
  {
    const T* from = reinterpret_cast<const T*>(base + row.places[0].offset);
    for (int i = 0; i < Count; ++i) {
      sum[i] = load(from + i * kLanes);
      if (kWeighted) sum[i] *= splat(row.places[0].weight);
    }
  }
  for (std::int64_t place = 1; place < row.count; ++place) {
    const T* from = reinterpret_cast<const T*>(base + row.places[place].offset);
    const Doubles weight = splat(row.places[place].weight);
    for (int i = 0; i < Count; ++i) {
      const Doubles value = load(from + i * kLanes);
      sum[i] += kWeighted ? weight * value : value;
    }
  }
}

template <class T, int Count, bool kWeighted>
inline void merge_block(const MergeTile& tile, const TileRow& row, double scale, T* out,
                        std::int64_t at, bool streamed) {
  Doubles total[Count];
  for (int i = 0; i < Count; ++i) total[i] = splat(-0.0);
  for (std::int64_t c = 0; c < tile.column_count; ++c) {
    const TileColumn& column = tile.columns[c];
    Doubles sum[Count];
    sum_places<T, Count, kWeighted>(tile, row, column, at, sum);
    if (column.weights == nullptr) {
      for (int i = 0; i < Count; ++i) total[i] += sum[i];
    } else {
      for (int i = 0; i < Count; ++i) total[i] += load(column.weights + at + i * kLanes) * sum[i];
    }
  }
  for (int i = 0; i < Count; ++i) {
    Doubles factor = splat(scale);
    if (tile.factors != nullptr) factor *= load(tile.factors + at + i * kLanes);
    const Doubles value = std::is_integral_v<T> ? total[i] / factor : total[i] * factor;
    if (streamed) {
      stream(out + at + i * kLanes, value);
    } else {
      store(out + at + i * kLanes, value);
    }
  }
}

// A stretch too short for a register.
template <class T>
inline void merge_number(const MergeTile& tile, const TileRow& row, double scale, T* out,
                         std::int64_t at) {
  double total = -0.0;
  for (std::int64_t c = 0; c < tile.column_count; ++c) {
    const TileColumn& column = tile.columns[c];
    const char* base = tile.fragments + column.offset + at * static_cast<std::int64_t>(sizeof(T));
    double sum = 0;
    for (std::int64_t place = 0; place < row.count; ++place) {
      const T* from = reinterpret_cast<const T*>(base + row.places[place].offset);
      const double value = row.places[place].weight * as_double(*from);
      sum = place == 0 ? value : sum + value;
    }
    total += column.weights == nullptr ? sum : column.weights[at] * sum;
  }
  const double factor = tile.factors == nullptr ? scale : scale * tile.factors[at];
  store_number(std::is_integral_v<T> ? total / factor : total * factor, out[at]);
}

// Copies a lone fragment's numbers: what a sum of one comes to.
template <class T>
inline void copy_numbers(const T* from, T* out, std::int64_t numbers,
                         [[maybe_unused]] bool streamed) {
  std::int64_t at = 0;
#if defined(__AVX512F__)
  for (; streamed && at + 16 <= numbers; at += 16) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(out + at), _mm512_loadu_si512(from + at));
  }
#elif defined(__AVX__)
  for (; streamed && at + 8 <= numbers; at += 8) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(out + at),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at)));
  }
#endif
  std::memcpy(out + at, from + at, static_cast<std::size_t>(numbers - at) * sizeof(T));
}

template <class T, bool kWeighted>
void merge_tile_rows(const MergeTile& tile) {
  const std::int64_t numbers = tile.numbers;
  for (std::int64_t r = 0; r < tile.row_count; ++r) {
    const TileRow& row = tile.rows[r];
    T* out = reinterpret_cast<T*>(tile.out + r * tile.out_step);
    const double scale = row.scale * tile.factor;
    const bool streamed = tile.stream && std::is_same_v<T, float> &&
                          (reinterpret_cast<std::uintptr_t>(out) % 64 == 0) && numbers % 16 == 0;
    const bool lone = !kWeighted && tile.column_count == 1 && row.count == 1 && scale == 1.0 &&
                      tile.columns->weights == nullptr && tile.factors == nullptr;
    if (lone) {
      const char* from = tile.fragments + tile.columns->offset + row.places->offset;
      copy_numbers(reinterpret_cast<const T*>(from), out, numbers, streamed);
      continue;
    }
    std::int64_t at = 0;
    for (; at + 4 * kLanes <= numbers; at += 4 * kLanes) {
      merge_block<T, 4, kWeighted>(tile, row, scale, out, at, streamed);
    }
    for (; at + kLanes <= numbers; at += kLanes) {
      merge_block<T, 1, kWeighted>(tile, row, scale, out, at, streamed);
    }
    for (; at < numbers; ++at) merge_number(tile, row, scale, out, at);
  }
}

template <class T>
void merge_tile(const MergeTile& tile) {
  if (tile.weighted) {
    merge_tile_rows<T, true>(tile);
  } else {
    merge_tile_rows<T, false>(tile);
  }
}

// One number, or one register of them: the exact sum of all columns and places, divided.
template <class V>
inline void merge_exactly(const MergeTile& tile, const TileRow& row, double* out, std::int64_t at) {
  V high = -0.0 - V{};
  V low = V{};
  for (std::int64_t c = 0; c < tile.column_count; ++c) {
    const char* base = tile.fragments + tile.columns[c].offset + at * 8;
    for (std::int64_t place = 0; place < row.count; ++place) {
      const V value = load_as<V>(base + row.places[place].offset);
      const V sum = high + value;
      const V taken = sum - high;
      low += (high - (sum - taken)) + (value - taken);
      high = sum;
    }
  }
  const V ones = V{} + 1.0;
  const V divisor =
      (tile.factors == nullptr ? ones : load_as<V>(tile.factors + at)) * (row.scale * tile.factor);
  double highs[kLanes];
  double lows[kLanes];
  double divisors[kLanes];
  std::memcpy(highs, &high, sizeof high);
  std::memcpy(lows, &low, sizeof low);
  std::memcpy(divisors, &divisor, sizeof divisor);
  for (std::size_t i = 0; i < sizeof(V) / 8; ++i) {
    const double quotient = highs[i] / divisors[i];
    const double rest = __builtin_fma(-quotient, divisors[i], highs[i]) + lows[i];
    const bool refine = rest != 0 && rest - rest == 0;
    out[at + static_cast<std::int64_t>(i)] = refine ? quotient + rest / divisors[i] : quotient;
  }
}

void merge_tile_exact(const MergeTile& tile) {
  typedef double One __attribute__((vector_size(8)));
  for (std::int64_t r = 0; r < tile.row_count; ++r) {
    double* out = reinterpret_cast<double*>(tile.out + r * tile.out_step);
    std::int64_t at = 0;
    for (; at + kLanes <= tile.numbers; at += kLanes) {
      merge_exactly<Doubles>(tile, tile.rows[r], out, at);
    }
    for (; at < tile.numbers; ++at) merge_exactly<One>(tile, tile.rows[r], out, at);
  }
}

void fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace

extern const MergeTileKernels merge_tile_kernels_table;
const MergeTileKernels merge_tile_kernels_table{
    {
        nullptr,  // bool
        &merge_tile<std::uint8_t>,
        &merge_tile<std::int8_t>,
        &merge_tile<std::int16_t>,
        &merge_tile<std::int32_t>,
        nullptr,  // int64
        &merge_tile<Half>,
        &merge_tile<BFloat16>,
        &merge_tile<float>,
        &merge_tile<double>,
    },
    &merge_tile_exact,
    &fence,
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
