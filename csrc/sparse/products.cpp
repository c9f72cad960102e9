#include "sparse/products.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/huge_buffer.hpp"
#include "core/parallel.hpp"
#include "sparse/products_kernel.hpp"

namespace tokfrag::sparse {

namespace {

constexpr std::int64_t kMaxLanes = 64;
// Output rows whose batch tile stays in the second cache.
constexpr std::int64_t kGroupBlocks = 16;
// Below this many multiply-adds a call is faster on one thread (about 100 us).
constexpr double kSerialWork = 4e6;

std::int64_t element_size(Element element) {
  return element == kFloat64 ? 8 : element == kFloat32 ? 4 : 2;
}
std::int64_t real_size(Element element) { return element == kFloat64 ? 8 : 4; }
std::size_t real_index(Element element) { return element == kFloat64 ? 1 : 0; }

const char* at(const void* base, std::int64_t items, std::int64_t size) {
  return static_cast<const char*>(base) + items * size;
}
char* at(void* base, std::int64_t items, std::int64_t size) {
  return static_cast<char*>(base) + items * size;
}

// Memory a thread keeps from call to call: fresh pages would cost more than a small product.
enum Scratch { kPanel, kRows, kValues, kScratches };
void* scratch(Scratch which, std::int64_t bytes) {
  thread_local HugeBuffer buffers[kScratches];
  HugeBuffer& buffer = buffers[which];
  if (buffer.size() < bytes) buffer = HugeBuffer(bytes);
  return buffer.data();
}

struct Tile {
  std::int64_t first;
  std::int64_t valid;
  std::int64_t lanes;
  std::size_t choice;  // lanes == 16 << choice
};

std::vector<Tile> batch_tiles(std::int64_t batch) {
  std::vector<Tile> tiles;
  for (std::int64_t first = 0; first < batch; first += kMaxLanes) {
    const std::int64_t valid = std::min(kMaxLanes, batch - first);
    const std::size_t choice = valid <= 16 ? 0 : valid <= 32 ? 1 : 2;
    tiles.push_back({first, valid, std::int64_t{16} << choice, choice});
  }
  return tiles;
}

// Cuts the row blocks into groups of about equal non-zeros, of at most kGroupBlocks; returns the
// boundaries. `wanted`: how many groups threads would like.
std::vector<std::int64_t> row_groups(const Layout& layout, std::int64_t wanted) {
  const std::int64_t blocks = layout.row_blocks();
  std::vector<std::int64_t> work(static_cast<std::size_t>(blocks), 1);
  for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
    for (std::int64_t block = 0; block < blocks; ++block) {
      work[static_cast<std::size_t>(block)] +=
          layout.tile_end(chunk, block) - layout.tile_start(chunk, block);
    }
  }
  double total = 0;
  for (const std::int64_t w : work) total += static_cast<double>(w);
  const double share = total / static_cast<double>(std::max<std::int64_t>(1, wanted));
  std::vector<std::int64_t> bounds{0};
  double sum = 0;
  for (std::int64_t block = 0; block < blocks; ++block) {
    sum += static_cast<double>(work[static_cast<std::size_t>(block)]);
    const bool full = block + 1 - bounds.back() >= kGroupBlocks;
    if (full || sum >= share * static_cast<double>(bounds.size()) - 0.5)
      bounds.push_back(block + 1);
  }
  if (bounds.back() != blocks) bounds.push_back(blocks);
  return bounds;
}

int threads_for(double work, int threads) {
  if (work < kSerialWork) return 1;
  return threads > 0 ? threads : default_threads();
}

std::int64_t nnz_of(const Layout& layout) {
  return layout.starts[layout.chunks() * layout.row_blocks()];
}

// The product proper: values are Real already and stand in the layout's order.
void multiply_widened(Element element, const Layout& layout, Batch x, const void* values,
                      const void* bias, void* y, int threads) {
  const ProductKernels& kernels = product_kernels();
  const PackingKernels& packing = packing_kernels();
  const std::int64_t esize = element_size(element);
  const std::int64_t rsize = real_size(element);
  const std::size_t real = real_index(element);
  const bool single = x.count == 1;
  const auto* values_end = static_cast<const float*>(values) + nnz_of(layout);
  const std::vector<Tile> tiles = batch_tiles(x.count);
  const auto tile_count = static_cast<std::int64_t>(tiles.size());
  threads =
      threads_for(static_cast<double>(nnz_of(layout)) * static_cast<double>(x.count), threads);
  const std::int64_t wanted = threads == 1 ? 1 : (4 * threads + tile_count - 1) / tile_count;
  const std::vector<std::int64_t> bounds = row_groups(layout, wanted);
  const auto groups = static_cast<std::int64_t>(bounds.size()) - 1;

  parallel_for(tile_count * groups, 1, threads, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const Tile& tile = tiles[static_cast<std::size_t>(unit / groups)];
      const std::int64_t first_block = bounds[static_cast<std::size_t>(unit % groups)];
      const std::int64_t last_block = bounds[static_cast<std::size_t>(unit % groups) + 1];
      const std::int64_t first_row = first_block * kTile;
      const std::int64_t row_count = std::min(layout.rows, last_block * kTile) - first_row;
      void* panel = scratch(kPanel, kTile * tile.lanes * rsize);
      void* rows = scratch(kRows, row_count * tile.lanes * rsize);
      std::memset(rows, 0, static_cast<std::size_t>(row_count * tile.lanes * rsize));
      for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
        if (layout.tile_start(chunk, first_block) == layout.tile_end(chunk, last_block - 1)) {
          continue;
        }
        const std::int64_t width = std::min(kTile, layout.columns - chunk * kTile);
        const char* inputs = at(x.data, tile.first * layout.columns + chunk * kTile, esize);
        if (single) {
          packing.widen[element](inputs, width, panel);
        } else {
          packing.pack[element](inputs, layout.columns, tile.valid, width, tile.lanes, panel);
        }
        for (std::int64_t block = first_block; block < last_block; ++block) {
          const std::int64_t start = layout.tile_start(chunk, block);
          if (start == layout.tile_end(chunk, block)) continue;
          void* out = at(rows, (block - first_block) * kTile * tile.lanes, rsize);
          const void* tile_values = at(values, start, rsize);
          if (single && layout.masks != nullptr) {
            kernels.multiply_masked(static_cast<const float*>(panel), width,
                                    static_cast<const float*>(tile_values), values_end,
                                    layout.tile_masks(chunk, block), layout.tile_runs(chunk, block),
                                    layout.block_rows(block), static_cast<float*>(out));
          } else if (single) {
            kernels.multiply_vector[real](panel, width, tile_values, layout.local + start,
                                          layout.tile_runs(chunk, block), layout.block_rows(block),
                                          out);
          } else {
            kernels.multiply[real][tile.choice](panel, tile_values, layout.local + start,
                                                layout.tile_runs(chunk, block),
                                                layout.block_rows(block), out);
          }
        }
      }
      const void* group_bias = bias == nullptr ? nullptr : at(bias, first_row, esize);
      char* out = at(y, tile.first * layout.rows + first_row, esize);
      if (single) {
        packing.unpack_vector[element](rows, row_count, group_bias, out);
      } else {
        packing.unpack[element](rows, row_count, tile.lanes, group_bias, tile.valid, layout.rows,
                                out);
      }
    }
  });
}

}  // namespace

void multiply(Element element, const Layout& layout, Batch x, const void* values, const void* bias,
              void* y, int threads) {
  if (x.count == 0 || layout.rows == 0) return;
  if (element == kFloat16 || element == kBFloat16) {
    const std::int64_t nnz = nnz_of(layout);
    void* wide = scratch(kValues, nnz * 4);
    packing_kernels().widen[element](values, nnz, wide);
    values = wide;
  }
  multiply_widened(element, layout, x, values, bias, y, threads);
}

bool masks_pay(Element element, const Pattern& pattern, std::int64_t batch) {
  // Measured break-even between a mask's fixed cost and a cost by non-zeros.
  constexpr double kLeastDensity = 0.2;
  return batch == 1 && element != kFloat64 && product_kernels().multiply_masked != nullptr &&
         static_cast<double>(pattern.nnz()) >= kLeastDensity * static_cast<double>(pattern.rows()) *
                                                   static_cast<double>(pattern.columns());
}

void multiply_transposed(Element element, const Pattern& pattern, const Layout& layout, Batch x,
                         const void* values, void* y, int threads) {
  if (x.count == 0 || layout.columns == 0) return;
  const PackingKernels& packing = packing_kernels();
  const Layout turned = pattern.transposed(layout.local, layout.runs);
  const std::int64_t esize = element_size(element);
  const std::int64_t rsize = real_size(element);
  void* ordered = scratch(kValues, pattern.nnz() * rsize);
  const std::int64_t chunks = layout.chunks();
  const int gather_threads = threads_for(static_cast<double>(pattern.nnz()) * 4, threads);
  parallel_for(chunks * layout.row_blocks(), 4, gather_threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t tile = begin; tile < end; ++tile) {
                   const std::int64_t to = turned.starts[tile];
                   const std::int64_t count = turned.starts[tile + 1] - to;
                   const std::int64_t from = layout.tile_start(tile % chunks, tile / chunks);
                   packing.gather[element](at(values, from, esize), pattern.sources() + to, count,
                                           at(ordered, to, rsize));
                 }
               });
  multiply_widened(element, turned, x, ordered, nullptr, y, threads);
}

void sample(Element element, const Layout& layout, Batch grad, const void* x, void* out,
            int threads) {
  const ProductKernels& kernels = product_kernels();
  const PackingKernels& packing = packing_kernels();
  const std::int64_t nnz = nnz_of(layout);
  const std::int64_t esize = element_size(element);
  const std::int64_t rsize = real_size(element);
  const std::size_t real = real_index(element);
  const bool wide = esize == rsize;
  void* sums = wide ? out : scratch(kValues, nnz * rsize);
  std::memset(sums, 0, static_cast<std::size_t>(nnz * rsize));
  const std::vector<Tile> tiles = batch_tiles(grad.count);
  threads = threads_for(static_cast<double>(nnz) * static_cast<double>(grad.count), threads);
  const std::vector<std::int64_t> bounds = row_groups(layout, threads == 1 ? 1 : 2 * threads);

  parallel_for(
      static_cast<std::int64_t>(bounds.size()) - 1, 1, threads,
      [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t group = begin; group < end; ++group) {
          const std::int64_t first_block = bounds[static_cast<std::size_t>(group)];
          const std::int64_t last_block = bounds[static_cast<std::size_t>(group) + 1];
          const std::int64_t first_row = first_block * kTile;
          const std::int64_t row_count = std::min(layout.rows, last_block * kTile) - first_row;
          for (const Tile& tile : tiles) {
            void* panel = scratch(kPanel, kTile * tile.lanes * rsize);
            void* rows = scratch(kRows, row_count * tile.lanes * rsize);
            packing.pack[element](at(grad.data, tile.first * layout.rows + first_row, esize),
                                  layout.rows, tile.valid, row_count, tile.lanes, rows);
            for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
              if (layout.tile_start(chunk, first_block) == layout.tile_end(chunk, last_block - 1)) {
                continue;
              }
              const std::int64_t width = std::min(kTile, layout.columns - chunk * kTile);
              packing.pack[element](at(x, tile.first * layout.columns + chunk * kTile, esize),
                                    layout.columns, tile.valid, width, tile.lanes, panel);
              for (std::int64_t block = first_block; block < last_block; ++block) {
                const std::int64_t start = layout.tile_start(chunk, block);
                kernels.sample[real][tile.choice](
                    panel, at(rows, (block - first_block) * kTile * tile.lanes, rsize),
                    layout.local + start, layout.tile_runs(chunk, block), layout.block_rows(block),
                    at(sums, start, rsize));
              }
            }
          }
        }
      });
  if (!wide) packing.narrow[element](sums, nnz, out);
}

void lookup(Element element, const std::int64_t* offsets, const std::int16_t* local,
            const void* values, std::int64_t columns, const std::int64_t* ids, std::int64_t count,
            void* out, int threads) {
  const std::int64_t esize = element_size(element);
  const std::int64_t grain = std::max<std::int64_t>(1, 200000 / std::max<std::int64_t>(1, columns));
  parallel_for(count, grain, threads, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t b = begin; b < end; ++b) {
      char* to = at(out, b * columns, esize);
      std::memset(to, 0, static_cast<std::size_t>(columns * esize));
      for (std::int64_t i = offsets[ids[b]]; i < offsets[ids[b] + 1]; ++i) {
        std::memcpy(at(to, local[i], esize), at(values, i, esize), static_cast<std::size_t>(esize));
      }
    }
  });
}

void lookup_gradient(Element element, const std::int64_t* offsets, const std::int16_t* local,
                     std::int64_t rows, std::int64_t columns, const std::int64_t* ids,
                     std::int64_t count, const void* grad, void* out, int threads) {
  const PackingKernels& packing = packing_kernels();
  const std::int64_t esize = element_size(element);
  const std::int64_t rsize = real_size(element);
  const bool wide = esize == rsize;
  void* sums = wide ? out : scratch(kRows, offsets[rows] * rsize);
  std::memset(sums, 0, static_cast<std::size_t>(offsets[rows] * rsize));
  // Every range scans all ids and takes those of its own rows: no two threads meet.
  const double work = static_cast<double>(count) * static_cast<double>(columns);
  threads = threads_for(work, threads);
  const std::int64_t grain = (rows + threads - 1) / threads;
  parallel_for(rows, grain, threads, [&](std::int64_t begin, std::int64_t end, int) {
    void* line = scratch(kPanel, columns * rsize);
    for (std::int64_t b = 0; b < count; ++b) {
      if (ids[b] < begin || ids[b] >= end) continue;
      packing.widen[element](at(grad, b * columns, esize), columns, line);
      for (std::int64_t i = offsets[ids[b]]; i < offsets[ids[b] + 1]; ++i) {
        if (element == kFloat64) {
          static_cast<double*>(sums)[i] += static_cast<double*>(line)[local[i]];
        } else {
          static_cast<float*>(sums)[i] += static_cast<float*>(line)[local[i]];
        }
      }
    }
  });
  if (!wide) packing.narrow[element](sums, offsets[rows], out);
}

}  // namespace tokfrag::sparse
