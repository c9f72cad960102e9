// A tile of a bitmap matrix, written out as the tiled products take it: one table an instruction
// set.
#pragma once

#include <cstdint>

#include "core/isa.hpp"
#include "sparse/tiles.hpp"

namespace tokfrag::sparse {

// How values of a bitmap matrix are stored; the first four are Element's.
enum ValueKind { kCodes = 4, kValueKinds };

// Up to kTile rows of one column chunk.
struct BitmapTile {
  const std::uint64_t* bitmap;  // the chunk's first word in the first row
  std::int64_t stride;          // words a row
  std::int64_t words;           // of the chunk: 1 or 2
  std::int64_t rows;
  const void* values;       // of the whole matrix
  std::int64_t count;       // of them
  std::int64_t* next;       // where each row goes on in them; moved on
  const float* scales[2];   // codes: the scale of each word in the first row
  std::int64_t scale_step;  // from a row's scale to the next row's
};

// Room for a full tile, and for whole vectors where it ends.
struct WrittenTile {
  float values[kTile * kTile + 16];
  std::uint8_t local[kTile * kTile + 64];
  std::uint8_t runs[2 * kTile];
};

struct BitmapTileKernels {
  // Writes a tile's values (codes times their scale), columns and runs, in the order of
  // sparse/layout.hpp; returns how many values there are. Index: Element (double: null), kCodes.
  using Write = std::int64_t (*)(const BitmapTile& tile, WrittenTile& out);
  Write write[kValueKinds];
};

}  // namespace tokfrag::sparse

namespace tokfrag {
TOKFRAG_ISA_TABLE(sparse::BitmapTileKernels, sparse_bitmap_tile_kernels, bitmap_tile_kernels)
}
