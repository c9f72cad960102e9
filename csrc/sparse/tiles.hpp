// How a (rows, columns) matrix is cut into tiles, on the host and on a GPU: column chunks and row
// blocks of kTile each, tiles numbered chunk by chunk.
#pragma once

#include <cstdint>

#include "core/cuda.hpp"

namespace tokfrag::sparse {

constexpr std::int64_t kTile = 128;

TOKFRAG_HOST_DEVICE inline std::int64_t tiles_along(std::int64_t extent) {
  return (extent + kTile - 1) / kTile;
}

struct TileGrid {
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  TOKFRAG_HOST_DEVICE std::int64_t row_blocks() const { return tiles_along(rows); }
  TOKFRAG_HOST_DEVICE std::int64_t chunks() const { return tiles_along(columns); }
  TOKFRAG_HOST_DEVICE std::int64_t tile(std::int64_t chunk, std::int64_t block) const {
    return chunk * row_blocks() + block;
  }
  TOKFRAG_HOST_DEVICE std::int64_t block_rows(std::int64_t block) const {
    return block + 1 < row_blocks() ? kTile : rows - block * kTile;
  }
  TOKFRAG_HOST_DEVICE std::int64_t chunk_columns(std::int64_t chunk) const {
    return chunk + 1 < chunks() ? kTile : columns - chunk * kTile;
  }
};

// Where a row's run lies among its tile's values, in one word: a tile has at most 2^14 values, a
// run at most 2^7.
TOKFRAG_HOST_DEVICE inline std::uint32_t make_span(std::uint32_t begin, std::uint32_t count) {
  return begin << 8 | count;
}
TOKFRAG_HOST_DEVICE inline int span_begin(std::uint32_t span) {
  return static_cast<int>(span >> 8);
}
TOKFRAG_HOST_DEVICE inline int span_count(std::uint32_t span) {
  return static_cast<int>(span & 0xffu);
}

}  // namespace tokfrag::sparse
