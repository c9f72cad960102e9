// A sparse matrix for few inputs at a time: row by row, a bit a column, values without indices.
//
// Decoding reads every weight once for each input, so bytes are what it costs. Stored are
//   bitmap  uint64 (rows, words): bit c % 64 of word c / 64 says whether column c is stored
//   values  one number for each bit that is set, rows one after the other, columns ascending
// and, where values are codes of eight bits, `scales` (rows, groups): a float for each
// `group_words` words of a row. An eighth of a byte a weight beside the values, at any sparsity:
// what indices of a byte cost at 87.5 % zeros, and indices of four bits at 75 %.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dtype.hpp"

namespace tokfrag::sparse {

constexpr std::int64_t kWordColumns = 64;
// Up to so many inputs are worked on row by row, more by tiles (sparse/bitmap_tiles.hpp).
constexpr std::int64_t kFewInputs = 8;

inline std::int64_t words_along(std::int64_t columns) {
  return (columns + kWordColumns - 1) / kWordColumns;
}

// Writes the bitmap of a row-major mask (non-zero byte: kept); returns how many are kept.
std::int64_t encode_bitmap(const std::uint8_t* mask, std::int64_t rows, std::int64_t columns,
                           std::uint64_t* bitmap);

// What is derived from a bitmap and kept: where each row's values begin.
class Bitmap {
 public:
  // Throws std::invalid_argument if the bitmap has bits past the last column.
  Bitmap(const std::uint64_t* bitmap, std::int64_t rows, std::int64_t columns);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t words() const { return words_along(columns_); }
  std::int64_t nnz() const { return starts_.back(); }
  const std::int64_t* starts() const { return starts_.data(); }

  // y (batch, rows) = x (batch, columns) W^T + bias, all of one element type, none of them double;
  // bias may be null. `bitmap` as given to the constructor.
  void multiply(Element element, const std::uint64_t* bitmap, const void* x, std::int64_t batch,
                const void* values, const void* bias, void* y, int threads) const;
  // The same in float for codes: each stands for itself times its group's scale. Inputs are rounded
  // to 16 bits, a share of 1 / 65534 of the largest of each line, and sums of products are exact:
  // every instruction set gives the same bits. A line that is not finite is not rounded. Nor are
  // the lines of more than kFewInputs, which are multiplied by each code times its scale, in float.
  void multiply_codes(const std::uint64_t* bitmap, const float* x, std::int64_t batch,
                      const std::int8_t* codes, const float* scales, std::int64_t group_words,
                      const float* bias, float* y, int threads) const;

 private:
  std::int64_t rows_;
  std::int64_t columns_;
  std::vector<std::int64_t> starts_;
};

}  // namespace tokfrag::sparse
