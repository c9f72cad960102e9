// Rows that share their columns, in a matrix made of blocks of eight rows of a column.
#pragma once

#include <cstdint>

namespace tokfrag::sparse {

constexpr int kGroupRows = 8;
// Columns of all groups of a tile of 128 x 128.
constexpr int kMostGroupColumns = 128 / kGroupRows * 128;

struct RowGroup {
  std::uint8_t row;     // the first, inside its row block; a multiple of kGroupRows
  std::uint8_t height;  // kGroupRows, or fewer where the matrix ends
  std::uint8_t count;   // columns
};

}  // namespace tokfrag::sparse
