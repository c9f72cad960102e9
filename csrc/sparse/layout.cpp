#include "sparse/layout.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "core/interrupt.hpp"

namespace tokfrag::sparse {

namespace {

// Writes a tile's runs in storage order: by count, equal counts by row.
void write_sorted_runs(const std::int64_t* counts, std::int64_t block_rows, std::uint8_t* runs) {
  std::array<std::uint8_t, kTile> order;
  std::iota(order.begin(), order.begin() + block_rows, std::uint8_t{0});
  std::stable_sort(order.begin(), order.begin() + block_rows,
                   [&](std::uint8_t a, std::uint8_t b) { return counts[a] < counts[b]; });
  for (std::int64_t i = 0; i < block_rows; ++i) {
    runs[2 * i] = order[static_cast<std::size_t>(i)];
    runs[2 * i + 1] = static_cast<std::uint8_t>(counts[order[static_cast<std::size_t>(i)]]);
  }
}

}  // namespace

std::int64_t encode_runs(const std::uint8_t* mask, std::int64_t rows, std::int64_t columns,
                         std::uint8_t* runs) {
  std::int64_t nnz = 0;
  for (std::int64_t chunk = 0; chunk < tiles_along(columns); ++chunk) {
    const std::int64_t first = chunk * kTile;
    const std::int64_t last = std::min(columns, first + kTile);
    for (std::int64_t row = 0; row < rows; row += kTile) {
      std::int64_t counts[kTile];
      const std::int64_t block_rows = std::min(kTile, rows - row);
      for (std::int64_t r = 0; r < block_rows; ++r) {
        const std::uint8_t* line = mask + (row + r) * columns;
        counts[r] = std::count_if(line + first, line + last, [](std::uint8_t m) { return m != 0; });
        nnz += counts[r];
      }
      write_sorted_runs(counts, block_rows, runs + (chunk * rows + row) * 2);
      poll_interrupt();
    }
  }
  return nnz;
}

void encode_columns(const std::uint8_t* mask, std::int64_t rows, std::int64_t columns,
                    const std::uint8_t* runs, std::uint8_t* local) {
  for (std::int64_t chunk = 0; chunk < tiles_along(columns); ++chunk) {
    const std::int64_t width = std::min(kTile, columns - chunk * kTile);
    for (std::int64_t position = 0; position < rows; ++position) {
      const std::int64_t row = position / kTile * kTile + runs[(chunk * rows + position) * 2];
      const std::uint8_t* line = mask + row * columns + chunk * kTile;
      for (std::int64_t column = 0; column < width; ++column) {
        if (line[column] != 0) *local++ = static_cast<std::uint8_t>(column);
      }
    }
    poll_interrupt();
  }
}

void decode_positions(const Layout& layout, std::int64_t* positions) {
  const std::uint8_t* local = layout.local;
  for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
    for (std::int64_t block = 0; block < layout.row_blocks(); ++block) {
      const std::uint8_t* runs = layout.tile_runs(chunk, block);
      for (std::int64_t i = 0; i < layout.block_rows(block); ++i) {
        const std::int64_t row = block * kTile + runs[2 * i];
        for (int n = runs[2 * i + 1]; n > 0; --n) {
          *positions++ = row * layout.columns + chunk * kTile + *local++;
        }
      }
    }
    poll_interrupt();
  }
}

void encode_spans(const Layout& layout, std::uint32_t* spans) {
  for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
    for (std::int64_t block = 0; block < layout.row_blocks(); ++block) {
      const std::uint8_t* runs = layout.tile_runs(chunk, block);
      std::uint32_t* tile_spans = spans + chunk * layout.rows + block * kTile;
      std::uint32_t begin = 0;
      for (std::int64_t i = 0; i < layout.block_rows(block); ++i) {
        tile_spans[runs[2 * i]] = make_span(begin, runs[2 * i + 1]);
        begin += runs[2 * i + 1];
      }
    }
  }
}

void decode_rows(const Layout& layout, std::uint8_t* rows) {
  for (std::int64_t run = 0; run < layout.chunks() * layout.rows; ++run) {
    const std::uint8_t count = layout.runs[2 * run + 1];
    std::memset(rows, layout.runs[2 * run], count);
    rows += count;
  }
}

namespace {

template <class T>
void expand_as(const Layout& layout, const T* values, T* dense) {
  const std::uint8_t* local = layout.local;
  for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
    for (std::int64_t block = 0; block < layout.row_blocks(); ++block) {
      const std::uint8_t* runs = layout.tile_runs(chunk, block);
      for (std::int64_t i = 0; i < layout.block_rows(block); ++i) {
        T* line = dense + (block * kTile + runs[2 * i]) * layout.columns + chunk * kTile;
        for (int n = runs[2 * i + 1]; n > 0; --n) line[*local++] = *values++;
      }
    }
  }
}

}  // namespace

void expand(const Layout& layout, const void* values, int size, void* dense) {
  std::memset(dense, 0, static_cast<std::size_t>(layout.rows * layout.columns * size));
  if (size == 8) {
    expand_as(layout, static_cast<const std::uint64_t*>(values),
              static_cast<std::uint64_t*>(dense));
  } else if (size == 4) {
    expand_as(layout, static_cast<const std::uint32_t*>(values),
              static_cast<std::uint32_t*>(dense));
  } else {
    expand_as(layout, static_cast<const std::uint16_t*>(values),
              static_cast<std::uint16_t*>(dense));
  }
}

namespace {

// Whether rows share their columns by eights; of a validated layout without starts.
bool shares_columns(const Layout& layout) {
  const std::uint8_t* local = layout.local;
  for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
    for (std::int64_t block = 0; block < layout.row_blocks(); ++block) {
      const std::uint8_t* runs = layout.tile_runs(chunk, block);
      const std::int64_t block_rows = layout.block_rows(block);
      for (std::int64_t i = 0; i < block_rows;) {
        const std::uint8_t row = runs[2 * i];
        const std::uint8_t count = runs[2 * i + 1];
        if (row % kGroupRows != 0) return false;
        const auto height = std::min<std::int64_t>(kGroupRows, block_rows - row);
        // Equally long runs stand by row, so the group's rows would follow at once.
        if (i + height > block_rows) return false;
        for (std::int64_t r = 1; r < height; ++r) {
          if (runs[2 * (i + r)] != row + r || runs[2 * (i + r) + 1] != count ||
              !std::equal(local, local + count, local + r * count)) {
            return false;
          }
        }
        local += count * height;
        i += height;
      }
    }
  }
  return true;
}

}  // namespace

Pattern::Pattern(const std::uint8_t* local, const std::uint8_t* runs, std::int64_t rows,
                 std::int64_t columns, std::int64_t nnz)
    : rows_(rows), columns_(columns), nnz_(nnz) {
  Layout view{{rows, columns}, local, runs, nullptr};
  starts_.assign(static_cast<std::size_t>(view.chunks() * view.row_blocks() + 1), 0);
  std::int64_t at = 0;
  std::size_t tile = 0;
  for (std::int64_t chunk = 0; chunk < view.chunks(); ++chunk) {
    const std::int64_t width = std::min(kTile, columns - chunk * kTile);
    for (std::int64_t block = 0; block < view.row_blocks(); ++block) {
      const std::uint8_t* run = view.tile_runs(chunk, block);
      std::array<bool, kTile> seen{};
      for (std::int64_t i = 0; i < view.block_rows(block); ++i) {
        const int row = run[2 * i];
        const int count = run[2 * i + 1];
        if (row >= view.block_rows(block) || seen[static_cast<std::size_t>(row)]) {
          throw std::invalid_argument("runs: row repeated or out of its block");
        }
        seen[static_cast<std::size_t>(row)] = true;
        if (i > 0 && count < run[2 * i - 1]) {
          throw std::invalid_argument("runs: must ascend in length within a tile");
        }
        if (count > width || at + count > nnz) {
          throw std::invalid_argument("runs: more non-zeros than values or columns");
        }
        for (int n = 0; n < count; ++n, ++at) {
          if (local[at] >= width || (n > 0 && local[at] <= local[at - 1])) {
            throw std::invalid_argument("local: columns must ascend within a run, in the chunk");
          }
        }
      }
      starts_[++tile] = at;
    }
    poll_interrupt();
  }
  if (at != nnz) throw std::invalid_argument("runs: fewer non-zeros than values");
  in_blocks_ = rows >= kGroupRows && shares_columns(view);
}

Layout Pattern::layout(const std::uint8_t* local, const std::uint8_t* runs) const {
  return {{rows_, columns_}, local, runs, starts_.data()};
}

Layout Pattern::masked(const std::uint8_t* local, const std::uint8_t* runs) const {
  Layout view = layout(local, runs);
  std::call_once(masks_once_, [&] { build_masks(view); });
  view.masks = masks_.data();
  return view;
}

void Pattern::build_masks(const Layout& from) const {
  const auto count = static_cast<std::size_t>(from.chunks() * rows_);
  masks_.assign(count * 2, 0);
  const std::uint8_t* local = from.local;
  for (std::size_t run = 0; run < count; ++run) {
    for (int n = from.runs[2 * run + 1]; n > 0; --n, ++local) {
      masks_[2 * run + *local / 64] |= std::uint64_t{1} << (*local % 64);
    }
  }
}

Layout Pattern::transposed(const std::uint8_t* local, const std::uint8_t* runs) const {
  std::call_once(transposed_once_, [&] { build_transposed(layout(local, runs)); });
  return {{columns_, rows_},
          transposed_local_.data(),
          transposed_runs_.data(),
          transposed_starts_.data()};
}

Layout Pattern::blocked(const std::uint8_t* local, const std::uint8_t* runs) const {
  Layout view = layout(local, runs);
  std::call_once(groups_once_, [&] { build_groups(view); });
  view.groups = groups_.data();
  view.group_columns = group_columns_.data();
  view.group_starts = group_starts_.data();
  return view;
}

void Pattern::build_groups(const Layout& from) const {
  groups_.reserve(
      static_cast<std::size_t>(from.chunks() * ((rows_ + kGroupRows - 1) / kGroupRows)));
  group_columns_.reserve(static_cast<std::size_t>(nnz_ / kGroupRows));
  group_starts_.reserve(starts_.size());
  for (std::int64_t chunk = 0; chunk < from.chunks(); ++chunk) {
    for (std::int64_t block = 0; block < from.row_blocks(); ++block) {
      group_starts_.push_back(static_cast<std::int64_t>(group_columns_.size()));
      const std::uint8_t* run = from.tile_runs(chunk, block);
      const std::uint8_t* local = from.local + from.tile_start(chunk, block);
      const std::int64_t block_rows = from.block_rows(block);
      for (std::int64_t i = 0; i < block_rows;) {
        const auto height = std::min<std::int64_t>(kGroupRows, block_rows - run[2 * i]);
        const std::uint8_t count = run[2 * i + 1];
        groups_.push_back({run[2 * i], static_cast<std::uint8_t>(height), count});
        group_columns_.insert(group_columns_.end(), local, local + count);
        local += count * height;
        i += height;
      }
    }
  }
  group_starts_.push_back(static_cast<std::int64_t>(group_columns_.size()));
}

void Pattern::build_transposed(const Layout& from) const {
  const std::int64_t blocks = from.row_blocks();
  const std::int64_t chunks = from.chunks();
  transposed_starts_.assign(static_cast<std::size_t>(blocks * chunks + 1), 0);
  transposed_local_.resize(static_cast<std::size_t>(nnz_));
  transposed_runs_.resize(static_cast<std::size_t>(blocks * columns_ * 2));
  sources_.resize(static_cast<std::size_t>(nnz_));
  std::int64_t at = 0;
  for (std::int64_t block = 0; block < blocks; ++block) {    // chunks of the transposed matrix
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {  // its row blocks
      const std::int64_t width = std::min(kTile, columns_ - chunk * kTile);
      const std::int64_t start = from.tile_start(chunk, block);
      const std::uint8_t* runs = from.tile_runs(chunk, block);
      // Where each of the tile's rows begins, rows ascending: the order of the transposed columns.
      std::int64_t row_start[kTile];
      int row_count[kTile];
      std::int64_t offset = 0;
      for (std::int64_t i = 0; i < from.block_rows(block); ++i) {
        row_start[runs[2 * i]] = offset;
        row_count[runs[2 * i]] = runs[2 * i + 1];
        offset += runs[2 * i + 1];
      }
      std::int64_t counts[kTile] = {};
      for (std::int64_t i = 0; i < offset; ++i) ++counts[from.local[start + i]];
      std::uint8_t* out_runs = transposed_runs_.data() + (block * columns_ + chunk * kTile) * 2;
      write_sorted_runs(counts, width, out_runs);
      std::int64_t next[kTile];
      std::int64_t place = at;
      for (std::int64_t i = 0; i < width; ++i) {
        next[out_runs[2 * i]] = place;
        place += out_runs[2 * i + 1];
      }
      for (std::int64_t row = 0; row < from.block_rows(block); ++row) {
        for (int n = 0; n < row_count[row]; ++n) {
          const std::int64_t source = row_start[row] + n;
          const auto to = static_cast<std::size_t>(next[from.local[start + source]]++);
          transposed_local_[to] = static_cast<std::uint8_t>(row);
          sources_[to] = static_cast<std::uint16_t>(source);
        }
      }
      at += offset;
      transposed_starts_[static_cast<std::size_t>(block * chunks + chunk + 1)] = at;
    }
  }
}

std::int64_t Pattern::bytes() const {
  return static_cast<std::int64_t>(
      (starts_.size() + transposed_starts_.size() + masks_.size() + group_starts_.size()) *
          sizeof(std::int64_t) +
      groups_.size() * sizeof(RowGroup) + group_columns_.size() + transposed_local_.size() +
      transposed_runs_.size() + sources_.size() * sizeof(std::uint16_t));
}

}  // namespace tokfrag::sparse
