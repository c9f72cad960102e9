// How a sparse matrix is stored: tiles of 128 x 128, 8-bit indices.
//
// A matrix of (rows, columns) is cut into column chunks and row blocks of kTile each. Tiles follow
// one another chunk by chunk; inside a tile, rows stand in the order of their number of non-zeros
// (so that the length of the inner loop is predictable), and each row's columns ascend. Stored:
//   values  one number for each non-zero, in that order
//   local   uint8 for each value: its column inside the chunk
//   runs    uint8 (chunks, rows, 2): for each run, in storage order, its row inside the block and
//           its number of non-zeros (0 to 128)
// A chunk of inputs and its batch tile fit the first cache; one byte a value is what is read beside
// the value itself: 5.16 bytes a non-zero of float32 at 90 % sparsity.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "sparse/row_group.hpp"
#include "sparse/tiles.hpp"

namespace tokfrag::sparse {

// A view of one stored matrix; `starts` holds where each tile's values begin, chunk by chunk.
struct Layout : TileGrid {
  const std::uint8_t* local = nullptr;
  const std::uint8_t* runs = nullptr;
  const std::int64_t* starts = nullptr;
  const std::uint64_t* masks = nullptr;  // optional: two words a run, a bit a column of the chunk
  // Optional, where rows share their columns by eights: the groups of each tile in storage order,
  // their columns, and where each tile's columns begin. A group's runs follow one another in the
  // stored form, since they are equally long: its values are a small matrix of (rows, columns).
  const RowGroup* groups = nullptr;
  const std::uint8_t* group_columns = nullptr;
  const std::int64_t* group_starts = nullptr;

  std::int64_t tile_start(std::int64_t chunk, std::int64_t block) const {
    return starts[tile(chunk, block)];
  }
  std::int64_t tile_end(std::int64_t chunk, std::int64_t block) const {
    return starts[tile(chunk, block) + 1];
  }
  const std::uint8_t* tile_runs(std::int64_t chunk, std::int64_t block) const {
    return runs + (chunk * rows + block * kTile) * 2;
  }
  const std::uint64_t* tile_masks(std::int64_t chunk, std::int64_t block) const {
    return masks + (chunk * rows + block * kTile) * 2;
  }
  std::int64_t block_groups(std::int64_t block) const {
    return (block_rows(block) + kGroupRows - 1) / kGroupRows;
  }
  const RowGroup* tile_groups(std::int64_t chunk, std::int64_t block) const {
    const std::int64_t in_chunk = (rows + kGroupRows - 1) / kGroupRows;
    return groups + chunk * in_chunk + block * (kTile / kGroupRows);
  }
  std::int64_t tile_group_start(std::int64_t chunk, std::int64_t block) const {
    return group_starts[tile(chunk, block)];
  }
  const std::uint8_t* tile_group_columns(std::int64_t chunk, std::int64_t block) const {
    return group_columns + tile_group_start(chunk, block);
  }
};

// Writes runs (chunks * rows * 2 bytes) for a row-major mask (non-zero byte: kept); returns nnz.
std::int64_t encode_runs(const std::uint8_t* mask, std::int64_t rows, std::int64_t columns,
                         std::uint8_t* runs);
// Writes the nnz local columns that go with runs written by encode_runs for the same mask.
void encode_columns(const std::uint8_t* mask, std::int64_t rows, std::int64_t columns,
                    const std::uint8_t* runs, std::uint8_t* local);
// Writes for each stored value its place row * columns + column.
void decode_positions(const Layout& layout, std::int64_t* positions);
// Writes the dense row-major matrix; values and dense have elements of `size` bytes (2, 4 or 8).
void expand(const Layout& layout, const void* values, int size, void* dense);

// For the device: writes a span for each row of each chunk, (chunks, rows), rows ascending.
void encode_spans(const Layout& layout, std::uint32_t* spans);
// For the device: writes each stored value's row inside its block.
void decode_rows(const Layout& layout, std::uint8_t* rows);

// What is derived from a stored matrix and kept: where tiles begin, and on demand the transposed
// matrix. Transposing moves values only inside a tile, so 16 bits tell where each comes from.
class Pattern {
 public:
  // Throws std::invalid_argument if local and runs do not describe a (rows, columns) matrix of nnz.
  Pattern(const std::uint8_t* local, const std::uint8_t* runs, std::int64_t rows,
          std::int64_t columns, std::int64_t nnz);

  Layout layout(const std::uint8_t* local, const std::uint8_t* runs) const;
  // The same matrix transposed; local and runs as given to the constructor. Built once, kept.
  Layout transposed(const std::uint8_t* local, const std::uint8_t* runs) const;
  // The layout with bit masks, an eighth of a byte a weight. Built once, kept.
  Layout masked(const std::uint8_t* local, const std::uint8_t* runs) const;
  // Whether each eight rows 8 k to 8 k + 7 (and those that are left) have the same columns.
  bool in_blocks() const { return in_blocks_; }
  // The layout with row groups, a byte a block of eight. Built once, kept; only if in_blocks().
  Layout blocked(const std::uint8_t* local, const std::uint8_t* runs) const;
  // For each value of the transposed matrix, its place in the tile it comes from.
  const std::uint16_t* sources() const { return sources_.data(); }

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t nnz() const { return nnz_; }
  std::int64_t bytes() const;

 private:
  void build_transposed(const Layout& from) const;
  void build_masks(const Layout& from) const;
  void build_groups(const Layout& from) const;

  std::int64_t rows_;
  std::int64_t columns_;
  std::int64_t nnz_;
  bool in_blocks_;
  std::vector<std::int64_t> starts_;
  mutable std::once_flag transposed_once_;
  mutable std::once_flag masks_once_;
  mutable std::once_flag groups_once_;
  mutable std::vector<RowGroup> groups_;
  mutable std::vector<std::uint8_t> group_columns_;
  mutable std::vector<std::int64_t> group_starts_;
  mutable std::vector<std::uint64_t> masks_;
  mutable std::vector<std::int64_t> transposed_starts_;
  mutable std::vector<std::uint8_t> transposed_local_;
  mutable std::vector<std::uint8_t> transposed_runs_;
  mutable std::vector<std::uint16_t> sources_;
};

}  // namespace tokfrag::sparse
