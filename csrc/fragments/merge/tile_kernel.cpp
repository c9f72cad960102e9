#include "fragments/merge/tile_kernel.hpp"

#include "fragments/merge/vectors.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

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
      store_lanes(out + at + i * kLanes, value);
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

// Copies a lone fragment's numbers: what a sum of one comes to. `streamed`: around the cache, whole
// lines in all, of which this is a part of 16, 32 or 64 bytes at least.
inline void copy_bytes(const char* from, char* out, std::int64_t bytes,
                       [[maybe_unused]] bool streamed) {
  std::int64_t at = 0;
#if defined(__AVX512F__)
  const bool whole = streamed && reinterpret_cast<std::uintptr_t>(out) % 64 == 0;
  for (; whole && at + 64 <= bytes; at += 64) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(out + at), _mm512_loadu_si512(from + at));
  }
#endif
#if defined(__AVX__)
  const bool half = streamed && reinterpret_cast<std::uintptr_t>(out) % 32 == 0;
  for (; half && at + 32 <= bytes; at += 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(out + at),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at)));
  }
  for (; streamed && at + 16 <= bytes; at += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + at),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at)));
  }
#endif
  if (at < bytes) std::memcpy(out + at, from + at, static_cast<std::size_t>(bytes - at));
}

void copy_pieces(const MergeTile& tile, const LonePiece* pieces, std::int64_t count) {
  // Pieces side by side that fill lines together may leave around the cache.
  std::int64_t end = 0;
  bool parts = tile.stream;
  for (std::int64_t i = 0; i < count; ++i) {
    parts = parts && pieces[i].to == end && pieces[i].bytes % 16 == 0;
    end = pieces[i].to + pieces[i].bytes;
  }
  for (std::int64_t r = 0; r < tile.row_count; ++r) {
    const char* from = tile.fragments + tile.rows[r].places->offset;
    char* out = tile.out + r * tile.out_step;
    const auto place = reinterpret_cast<std::uintptr_t>(out) | static_cast<std::uintptr_t>(end);
    const bool streamed = parts && place % 64 == 0;
    for (const LonePiece* piece = pieces; piece != pieces + count; ++piece) {
      copy_bytes(from + piece->from, out + piece->to, piece->bytes, streamed);
    }
  }
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
      copy_bytes(from, reinterpret_cast<char*>(out), numbers * static_cast<std::int64_t>(sizeof(T)),
                 streamed);
      continue;
    }
    std::int64_t at = 0;
    for (; kLanes == 8 && at + 8 * kLanes <= numbers; at += 8 * kLanes) {
      merge_block<T, 8, kWeighted>(tile, row, scale, out, at, streamed);
    }
    for (; at + 4 * kLanes <= numbers; at += 4 * kLanes) {
      merge_block<T, 4, kWeighted>(tile, row, scale, out, at, streamed);
    }
    for (; at + kLanes <= numbers; at += kLanes) {
      merge_block<T, 1, kWeighted>(tile, row, scale, out, at, streamed);
    }
    for (; at < numbers; ++at) merge_number(tile, row, scale, out, at);
  }
}

// `Count` registers of halves, as merge_block but in float32. `doubt` becomes not zero where a
// sum may have overflowed: bfloat16 reaches as far as float32, so sums of it need not fit.
template <class T, int Count, bool kWeighted>
inline void merge_single_block(const MergeTile& tile, const TileRow& row, float scale, T* out,
                               std::int64_t at, bool streamed, WideFloats& doubt) {
  WideFloats total[Count];
  for (int i = 0; i < Count; ++i) total[i] = splat(-0.0f);
  for (std::int64_t c = 0; c < tile.column_count; ++c) {
    const TileColumn& column = tile.columns[c];
    const char* base = tile.fragments + column.offset + at * static_cast<std::int64_t>(sizeof(T));
    WideFloats sum[Count];
    const T* first = reinterpret_cast<const T*>(base + row.places[0].offset);
    for (int i = 0; i < Count; ++i) {
      sum[i] = load_wide(first + i * kWideLanes);
      if (kWeighted) sum[i] *= splat(static_cast<float>(row.places[0].weight));
    }
    for (std::int64_t place = 1; place < row.count; ++place) {
      const T* from = reinterpret_cast<const T*>(base + row.places[place].offset);
      const WideFloats weight = splat(static_cast<float>(row.places[place].weight));
      for (int i = 0; i < Count; ++i) {
        const WideFloats value = load_wide(from + i * kWideLanes);
        sum[i] += kWeighted ? weight * value : value;
      }
    }
    if (column.singles == nullptr) {
      for (int i = 0; i < Count; ++i) total[i] += sum[i];
    } else {
      const float* weights = column.singles + at;
      for (int i = 0; i < Count; ++i) total[i] += load_wide(weights + i * kWideLanes) * sum[i];
    }
  }
  for (int i = 0; i < Count; ++i) {
    const WideFloats value = total[i] * splat(scale);
    doubt += total[i] - total[i];
    if (streamed) {
      stream(out + at + i * kWideLanes, value);
    } else {
      store_lanes(out + at + i * kWideLanes, value);
    }
  }
}

template <class T>
inline bool merge_single_number(const MergeTile& tile, const TileRow& row, float scale, T* out,
                                std::int64_t at) {
  float total = -0.0f;
  for (std::int64_t c = 0; c < tile.column_count; ++c) {
    const TileColumn& column = tile.columns[c];
    const char* base = tile.fragments + column.offset + at * static_cast<std::int64_t>(sizeof(T));
    float sum = 0;
    for (std::int64_t place = 0; place < row.count; ++place) {
      const T* from = reinterpret_cast<const T*>(base + row.places[place].offset);
      const float value = static_cast<float>(row.places[place].weight) * widen(*from);
      sum = place == 0 ? value : sum + value;
    }
    total += column.singles == nullptr ? sum : column.singles[at] * sum;
  }
  narrow(total * scale, out[at]);
  return total - total != 0;
}

// A row's numbers from `begin` on, one by one: in float64 where float32 sums are not finite.
template <class T>
void merge_single_numbers(const MergeTile& tile, const TileRow& row, double scale, T* out,
                          std::int64_t begin) {
  for (std::int64_t at = begin; at < tile.numbers; ++at) {
    if (merge_single_number(tile, row, static_cast<float>(scale), out, at)) {
      merge_number(tile, row, scale, out, at);
    }
  }
}

template <class T, bool kWeighted>
void merge_single_rows(const MergeTile& tile) {
  const std::int64_t numbers = tile.numbers;
  WideFloats doubt = WideFloats{};
  for (std::int64_t r = 0; r < tile.row_count; ++r) {
    const TileRow& row = tile.rows[r];
    T* out = reinterpret_cast<T*>(tile.out + r * tile.out_step);
    const double scale = row.scale * tile.factor;
    const float single = static_cast<float>(scale);
    const bool streamed =
        tile.stream && (reinterpret_cast<std::uintptr_t>(out) % 64 == 0) && numbers % 32 == 0;
    const bool lone = !kWeighted && tile.column_count == 1 && row.count == 1 && scale == 1.0 &&
                      tile.columns->singles == nullptr;
    if (lone) {
      const char* from = tile.fragments + tile.columns->offset + row.places->offset;
      copy_bytes(from, reinterpret_cast<char*>(out), numbers * static_cast<std::int64_t>(sizeof(T)),
                 streamed);
      continue;
    }
    std::int64_t at = 0;
    for (; at + 4 * kWideLanes <= numbers; at += 4 * kWideLanes) {
      merge_single_block<T, 4, kWeighted>(tile, row, single, out, at, streamed, doubt);
    }
    for (; at + 2 * kWideLanes <= numbers; at += 2 * kWideLanes) {
      merge_single_block<T, 2, kWeighted>(tile, row, single, out, at, streamed, doubt);
    }
    for (; at + kWideLanes <= numbers; at += kWideLanes) {
      merge_single_block<T, 1, kWeighted>(tile, row, single, out, at, streamed, doubt);
    }
    merge_single_numbers(tile, row, scale, out, at);
  }
  bool overflowed = false;
  for (int lane = 0; lane < kWideLanes; ++lane) overflowed |= doubt[lane] != 0;
  for (std::int64_t r = 0; overflowed && r < tile.row_count; ++r) {
    T* out = reinterpret_cast<T*>(tile.out + r * tile.out_step);
    merge_single_numbers(tile, tile.rows[r], tile.rows[r].scale * tile.factor, out, 0);
  }
}

template <class T>
void merge_single(const MergeTile& tile) {
  if (tile.weighted) {
    merge_single_rows<T, true>(tile);
  } else {
    merge_single_rows<T, false>(tile);
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
    {
        nullptr,  // integers
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        &merge_single<Half>,
        &merge_single<BFloat16>,
        nullptr,  // wider ones
        nullptr,
    },
    &copy_pieces,
    &fence,
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
