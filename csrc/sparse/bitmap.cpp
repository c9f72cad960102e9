#include "sparse/bitmap.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "core/interrupt.hpp"
#include "core/parallel.hpp"
#include "sparse/batching.hpp"
#include "sparse/bitmap_kernel.hpp"
#include "sparse/bitmap_tiles.hpp"
#include "sparse/packing_kernel.hpp"

namespace tokfrag::sparse {

namespace {

constexpr std::int64_t kMostInputs = 4;  // a pass over the weights
constexpr double kMostLevel = 32767;     // of an input of 16 bits

// How many inputs the next pass takes, as an index of kernels.
std::size_t choice_for(std::int64_t left) { return left >= 4 ? 2 : left >= 2 ? 1 : 0; }

// Calls body(rows, first row) for rows [begin, end): in one piece those whose values may be read
// past their end, and the last ones, behind which values end, one by one from a padded copy.
template <class Body>
void over_rows(const Bitmap& matrix, const std::uint64_t* bitmap, const void* values,
               std::int64_t size, std::int64_t begin, std::int64_t end, const Body& body) {
  const std::int64_t* starts = matrix.starts();
  const std::int64_t safe_end = matrix.nnz() - kReadAhead;
  std::int64_t safe = end;
  while (safe > begin && starts[safe] > safe_end) --safe;
  const std::int64_t words = matrix.words();
  if (safe > begin) {
    body(BitmapRows{bitmap + begin * words, words, safe - begin, at(values, starts[begin], size)},
         begin);
  }
  if (safe == end) return;
  void* copy = scratch(kRows, (matrix.columns() + kReadAhead) * size);
  for (std::int64_t row = safe; row < end; ++row) {
    const std::int64_t count = starts[row + 1] - starts[row];
    std::copy_n(at(values, starts[row], size), count * size, static_cast<char*>(copy));
    std::fill_n(at(copy, count, size), kReadAhead * size, '\0');
    body(BitmapRows{bitmap + row * words, words, 1, copy}, row);
  }
}

// y[r] = sum of stored codes times inputs, in double: for inputs that cannot be rounded.
void multiply_plainly(const Bitmap& matrix, const std::uint64_t* bitmap, const float* x,
                      const std::int8_t* codes, const float* scales, std::int64_t group_words,
                      double* sums) {
  for (std::int64_t row = 0; row < matrix.rows(); ++row) {
    double sum = 0;
    for (std::int64_t w = 0; w < matrix.words(); ++w) {
      if (w > 0 && w % group_words == 0) ++scales;
      for (std::uint64_t word = *bitmap++; word != 0; word &= word - 1) {
        const double input = static_cast<double>(x[w * kWordColumns + __builtin_ctzll(word)]);
        sum += static_cast<double>(*codes++) * static_cast<double>(*scales) * input;
      }
    }
    ++scales;
    sums[row] = sum;
  }
}

bool all_finite(const float* x, std::int64_t count) {
  return std::all_of(x, x + count, [](float value) { return std::isfinite(value); });
}

}  // namespace

std::int64_t encode_bitmap(const std::uint8_t* mask, std::int64_t rows, std::int64_t columns,
                           std::uint64_t* bitmap) {
  std::int64_t nnz = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t first = 0; first < columns; first += kWordColumns) {
      const std::int64_t count = std::min(kWordColumns, columns - first);
      std::uint64_t word = 0;
      for (std::int64_t bit = 0; bit < count; ++bit) {
        word |= static_cast<std::uint64_t>(mask[row * columns + first + bit] != 0) << bit;
      }
      nnz += __builtin_popcountll(word);
      *bitmap++ = word;
    }
    poll_interrupt();
  }
  return nnz;
}

Bitmap::Bitmap(const std::uint64_t* bitmap, std::int64_t rows, std::int64_t columns)
    : rows_(rows), columns_(columns) {
  starts_.reserve(static_cast<std::size_t>(rows + 1));
  starts_.push_back(0);
  const std::int64_t tail = columns % kWordColumns;
  const std::uint64_t beyond = tail == 0 ? 0 : ~std::uint64_t{0} << tail;
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t w = 0; w < words(); ++w) count += __builtin_popcountll(bitmap[w]);
    bitmap += words();
    if (words() > 0 && (bitmap[-1] & beyond) != 0) {
      throw std::invalid_argument("bitmap: got bits past the last column");
    }
    starts_.push_back(count);
    poll_interrupt();
  }
}

void Bitmap::multiply(Element element, const std::uint64_t* bitmap, const void* x,
                      std::int64_t batch, const void* values, const void* bias, void* y,
                      int threads) const {
  if (batch == 0 || rows_ == 0) return;
  if (batch > kFewInputs) {
    multiply_by_tiles(*this, bitmap, {element, values}, element, x, batch, bias, y, threads);
    return;
  }
  const PackingKernels& packing = packing_kernels();
  const std::int64_t size = element_size(element);
  const std::int64_t width = words() * kWordColumns;
  auto* inputs = static_cast<float*>(scratch(kPanel, kMostInputs * width * 4));
  auto* sums = static_cast<float*>(scratch(kSums, kMostInputs * rows_ * 4));
  auto* wide_bias = static_cast<float*>(scratch(kValues, rows_ * 4));
  if (bias != nullptr) packing.widen[element](bias, rows_, wide_bias);
  for (std::int64_t first = 0; first < batch;) {
    const std::size_t choice = choice_for(batch - first);
    const std::int64_t count = std::int64_t{1} << choice;
    bool finite = true;
    for (std::int64_t i = 0; i < count; ++i) {
      float* line = inputs + i * width;
      packing.widen[element](at(x, (first + i) * columns_, size), columns_, line);
      std::fill(line + columns_, line + width, 0.0f);
      finite = finite && all_finite(line, columns_);
    }
    const double work = static_cast<double>(nnz()) * static_cast<double>(count);
    parallel_for(rows_, 16, threads_for(work, threads),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   over_rows(*this, bitmap, values, size, begin, end,
                             [&](const BitmapRows& rows, std::int64_t row) {
                               bitmap_kernels().multiply[element][choice](rows, inputs, finite,
                                                                          sums + row, rows_);
                             });
                 });
    for (std::int64_t i = 0; i < count; ++i) {
      float* line = sums + i * rows_;
      if (bias != nullptr) {
        for (std::int64_t r = 0; r < rows_; ++r) line[r] += wide_bias[r];
      }
      packing.narrow[element](line, rows_, at(y, (first + i) * rows_, size));
    }
    first += count;
  }
}

void Bitmap::multiply_codes(const std::uint64_t* bitmap, const float* x, std::int64_t batch,
                            const std::int8_t* codes, const float* scales, std::int64_t group_words,
                            const float* bias, float* y, int threads) const {
  if (batch == 0 || rows_ == 0) return;
  if (batch > kFewInputs) {
    const BitmapValues values{kCodes, codes, scales, group_words};
    multiply_by_tiles(*this, bitmap, values, kFloat32, x, batch, bias, y, threads);
    return;
  }
  const std::int64_t width = words() * kWordColumns;
  const std::int64_t groups = (words() + group_words - 1) / group_words;
  auto* inputs = static_cast<std::int16_t*>(scratch(kPanel, kMostInputs * width * 2));
  auto* sums = static_cast<double*>(scratch(kSums, kMostInputs * rows_ * 8));
  for (std::int64_t first = 0; first < batch;) {
    const std::size_t choice = choice_for(batch - first);
    const std::int64_t count = std::int64_t{1} << choice;
    double steps[kMostInputs];
    bool rounded[kMostInputs];
    for (std::int64_t i = 0; i < count; ++i) {
      const float* line = x + (first + i) * columns_;
      std::int16_t* levels = inputs + i * width;
      float largest = 0;
      rounded[i] = all_finite(line, columns_);
      for (std::int64_t c = 0; c < columns_; ++c) largest = std::max(largest, std::fabs(line[c]));
      const double most = rounded[i] ? static_cast<double>(largest) : 0;
      steps[i] = most / kMostLevel;
      const double inverse = most > 0 ? kMostLevel / most : 0;
      for (std::int64_t c = 0; c < columns_; ++c) {
        const double level = rounded[i] ? static_cast<double>(line[c]) * inverse : 0;
        levels[c] = static_cast<std::int16_t>(std::lrint(level));
      }
      std::fill(levels + columns_, levels + width, std::int16_t{0});
    }
    const double work = static_cast<double>(nnz()) * static_cast<double>(count);
    parallel_for(
        rows_, 16, threads_for(work, threads), [&](std::int64_t begin, std::int64_t end, int) {
          over_rows(*this, bitmap, codes, 1, begin, end,
                    [&](const BitmapRows& rows, std::int64_t row) {
                      bitmap_kernels().multiply_codes[choice](rows, inputs, scales + row * groups,
                                                              group_words, sums + row, rows_);
                    });
        });
    for (std::int64_t i = 0; i < count; ++i) {
      double* line = sums + i * rows_;
      if (!rounded[i]) {
        multiply_plainly(*this, bitmap, x + (first + i) * columns_, codes, scales, group_words,
                         line);
      }
      const double step = rounded[i] ? steps[i] : 1;
      float* out = y + (first + i) * rows_;
      for (std::int64_t r = 0; r < rows_; ++r) {
        out[r] = static_cast<float>(line[r] * step) + (bias == nullptr ? 0.0f : bias[r]);
      }
    }
    first += count;
  }
}

}  // namespace tokfrag::sparse
