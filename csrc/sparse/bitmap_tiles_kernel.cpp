#include "sparse/bitmap_tiles_kernel.hpp"

#include <cstring>

#include "core/dtype.hpp"
#include "core/half.hpp"
#include "core/simd.hpp"

namespace tokfrag::TOKFRAG_ISA {

using sparse::BitmapTile;
using sparse::BitmapTileKernels;
using sparse::kTile;
using sparse::WrittenTile;

namespace {

// For each byte of a bitmap its columns in order, a byte each, in one word.
struct ColumnTable {
  std::uint64_t columns[256];
  constexpr ColumnTable() : columns() {
    for (int bits = 0; bits < 256; ++bits) {
      int found = 0;
      for (int bit = 0; bit < 8; ++bit) {
        if ((bits >> bit & 1) == 0) continue;
        columns[bits] |= static_cast<std::uint64_t>(bit) << (8 * found);
        ++found;
      }
    }
  }
};
constexpr ColumnTable kColumns{};

// Writes the columns of all runs: eight bits a step whatever they hold, for a loop over those that
// are set would be mispredicted at its end.
void write_columns_by_table(const BitmapTile& tile, WrittenTile& out) {
  constexpr std::uint64_t kEach = 0x0101010101010101u;
  std::uint8_t* local = out.local;
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    if (out.runs[2 * i + 1] == 0) continue;
    const std::uint64_t* words = tile.bitmap + out.runs[2 * i] * tile.stride;
    std::uint64_t base = 0;
    for (std::int64_t w = 0; w < tile.words; ++w) {
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) {
        const std::uint64_t bits = words[w] >> (8 * k) & 0xff;
        const std::uint64_t columns = kColumns.columns[bits] + base;
        std::memcpy(local, &columns, sizeof columns);
        local += __builtin_popcountll(bits);
        base += 8 * kEach;
      }
    }
  }
}

#if defined(__AVX512F__)
struct AllColumns {
  std::uint8_t columns[kTile];
  constexpr AllColumns() : columns() {
    for (int column = 0; column < kTile; ++column) {
      columns[column] = static_cast<std::uint8_t>(column);
    }
  }
};
alignas(64) constexpr AllColumns kAllColumns{};

// Ice Lake, Zen 4 and later write the columns of a word at once.
__attribute__((target("avx512vbmi2"))) void write_columns_by_compression(const BitmapTile& tile,
                                                                         WrittenTile& out) {
  const __m512i low = _mm512_load_si512(kAllColumns.columns);
  const __m512i high = _mm512_load_si512(kAllColumns.columns + 64);
  std::uint8_t* local = out.local;
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const std::uint64_t* words = tile.bitmap + out.runs[2 * i] * tile.stride;
    _mm512_storeu_si512(local, _mm512_maskz_compress_epi8(words[0], low));
    local += __builtin_popcountll(words[0]);
    if (tile.words < 2) continue;
    _mm512_storeu_si512(local, _mm512_maskz_compress_epi8(words[1], high));
    local += __builtin_popcountll(words[1]);
  }
}
#endif

void write_columns(const BitmapTile& tile, WrittenTile& out) {
#if defined(__AVX512F__)
  static const bool compresses = __builtin_cpu_supports("avx512vbmi2");
  if (compresses) {
    write_columns_by_compression(tile, out);
    return;
  }
#endif
  write_columns_by_table(tile, out);
}

// Widens `count` values by whole sixteens: more are read, and written, than there are.
template <class E>
TOKFRAG_INLINE void widen_sixteens(const E* from, int count, float scale, float* to) {
  for (int k = 0; k < count; k += 16) {
    for (int j = 0; j < 16; ++j) {
      if constexpr (sizeof(E) == 1) {
        to[k + j] = static_cast<float>(from[k + j]) * scale;
      } else {
        to[k + j] = widen(from[k + j]);
      }
    }
  }
}

// Shorter rows first, as the tiled products want them; writes their order, returns all their bits.
std::int64_t sort_rows(const BitmapTile& tile, std::uint8_t* runs) {
  std::uint8_t counts[kTile];
  int places[kTile + 2] = {};
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const std::uint64_t* row = tile.bitmap + r * tile.stride;
    int count = __builtin_popcountll(row[0]);
    if (tile.words == 2) count += __builtin_popcountll(row[1]);
    counts[r] = static_cast<std::uint8_t>(count);
    ++places[count + 1];
  }
  for (int count = 0; count <= kTile; ++count) places[count + 1] += places[count];
  std::int64_t total = 0;
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    std::uint8_t* run = runs + 2 * places[counts[r]]++;
    run[0] = static_cast<std::uint8_t>(r);
    run[1] = counts[r];
    total += counts[r];
  }
  return total;
}

// Values that are stored near the end of all are copied first: what is behind is not ours.
template <class E>
TOKFRAG_INLINE const E* readable(const BitmapTile& tile, std::int64_t place, int count,
                                 E (&copy)[kTile]) {
  const auto* from = static_cast<const E*>(tile.values) + place;
  if (place + kTile <= tile.count) return from;
  std::memcpy(copy, from, static_cast<std::size_t>(count) * sizeof(E));
  return copy;
}

template <class E>
std::int64_t write(const BitmapTile& tile, WrittenTile& out) {
  const std::int64_t total = sort_rows(tile, out.runs);
  if (total == 0) return 0;
  write_columns(tile, out);
  float* values = out.values;
  E copy[kTile] = {};
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const std::int64_t r = out.runs[2 * i];
    const int count = out.runs[2 * i + 1];
    const E* from = readable(tile, tile.next[r], count, copy);
    tile.next[r] += count;
    if constexpr (sizeof(E) == 1) {
      const std::int64_t place = r * tile.scale_step;
      const int low = __builtin_popcountll(tile.bitmap[r * tile.stride]);
      widen_sixteens(from, low, tile.scales[0][place], values);
      if (tile.words == 2) {
        widen_sixteens(from + low, count - low, tile.scales[1][place], values + low);
      }
    } else {
      widen_sixteens(from, count, 1, values);
    }
    values += count;
  }
  return total;
}

}  // namespace

extern const BitmapTileKernels sparse_bitmap_tile_kernels;
const BitmapTileKernels sparse_bitmap_tile_kernels = {
    {write<float>, nullptr, write<Half>, write<BFloat16>, write<std::int8_t>},
};

}  // namespace tokfrag::TOKFRAG_ISA
