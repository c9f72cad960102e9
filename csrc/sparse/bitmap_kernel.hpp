// Products of rows of a bitmap matrix with one, two or four inputs: one table an instruction set.
//
// Inputs are padded with zeros to whole words. Kernels read up to kReadAhead values past the last
// one of their rows.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag::sparse {

constexpr std::int64_t kReadAhead = 64;
constexpr int kInputChoices = 3;  // 1 << index inputs

struct BitmapRows {
  const std::uint64_t* bitmap;  // of the first row
  std::int64_t words;           // a row
  std::int64_t count;           // rows
  const void* values;           // of the first row on
};

struct BitmapKernels {
  // out[i * stride + r] = sum over the values of row r times x[i, column]. `finite`: whether all
  // inputs are, so that zeros may meet them. Index: Element (double: null), inputs.
  using Multiply = void (*)(const BitmapRows& rows, const float* x, bool finite, float* out,
                            std::int64_t stride);
  Multiply multiply[kElements][kInputChoices];
  // out[i * stride + r] = sum over groups of scales[r, group] times the exact sum of the group's
  // codes times x[i, column]; `group_words` words a group.
  using MultiplyCodes = void (*)(const BitmapRows& rows, const std::int16_t* x, const float* scales,
                                 std::int64_t group_words, double* out, std::int64_t stride);
  MultiplyCodes multiply_codes[kInputChoices];
};

}  // namespace tokfrag::sparse

namespace tokfrag {
TOKFRAG_ISA_TABLE(sparse::BitmapKernels, sparse_bitmap_kernels, bitmap_kernels)
}
