#include "sparse/products.hpp"

#include <algorithm>
#include <cstring>

#include "core/parallel.hpp"
#include "sparse/batching.hpp"
#include "sparse/blocks.hpp"
#include "sparse/blocks_kernel.hpp"
#include "sparse/products_kernel.hpp"

namespace tokfrag::sparse {

namespace {

// One tile times its chunk of inputs, by the kernel that suits. `single`: one input, not a panel.
void multiply_tile(Element element, const Layout& layout, std::int64_t chunk, std::int64_t block,
                   bool single, std::size_t choice, const void* panel, const void* values,
                   void* rows) {
  const std::size_t real = real_index(element);
  const std::int64_t start = layout.tile_start(chunk, block);
  const std::int64_t width = layout.chunk_columns(chunk);
  // Kernels of masks take values as they are stored, all others take them widened.
  const std::int64_t size = layout.masks != nullptr ? element_size(element) : real_size(element);
  const void* tile_values = at(values, start, size);
  const std::uint8_t* runs = layout.tile_runs(chunk, block);
  const std::int64_t block_rows = layout.block_rows(block);
  if (layout.groups != nullptr) {
    const BlockKernels& kernels = block_kernels();
    const std::uint8_t* columns = layout.tile_group_columns(chunk, block);
    const RowGroup* groups = layout.tile_groups(chunk, block);
    const std::int64_t count = layout.block_groups(block);
    if (single) {
      kernels.multiply_vector[real](panel, width, tile_values, columns, groups, count, rows);
    } else {
      kernels.multiply[real][choice](panel, tile_values, columns, groups, count, rows);
    }
    return;
  }
  const ProductKernels& kernels = product_kernels();
  if (!single) {
    kernels.multiply[real][choice](panel, tile_values, layout.local + start, runs, block_rows,
                                   rows);
  } else if (layout.masks != nullptr) {
    kernels.multiply_masked[element](
        static_cast<const float*>(panel), width, tile_values, at(values, nnz_of(layout), size),
        layout.tile_masks(chunk, block), runs, block_rows, static_cast<float*>(rows));
  } else {
    kernels.multiply_vector[real](panel, width, tile_values, layout.local + start, runs, block_rows,
                                  rows);
  }
}

// The product proper: values stand in the layout's order and are Real already, but with masks.
void multiply_widened(Element element, const Layout& layout, Batch x, const void* values,
                      const void* bias, void* y, int threads) {
  const PackingKernels& packing = packing_kernels();
  const std::int64_t esize = element_size(element);
  const std::int64_t rsize = real_size(element);
  const bool single = x.count == 1;
  const std::vector<BatchTile> tiles = batch_tiles(x.count);
  const auto tile_count = static_cast<std::int64_t>(tiles.size());
  threads =
      threads_for(static_cast<double>(nnz_of(layout)) * static_cast<double>(x.count), threads);
  const std::int64_t wanted = threads == 1 ? 1 : (4 * threads + tile_count - 1) / tile_count;
  const std::vector<std::int64_t> bounds = row_groups(layout, wanted);
  const auto groups = static_cast<std::int64_t>(bounds.size()) - 1;

  parallel_for(tile_count * groups, 1, threads, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const BatchTile& tile = tiles[static_cast<std::size_t>(unit / groups)];
      const std::int64_t first_block = bounds[static_cast<std::size_t>(unit % groups)];
      const std::int64_t last_block = bounds[static_cast<std::size_t>(unit % groups) + 1];
      const std::int64_t first_row = first_block * kTile;
      const std::int64_t row_count = std::min(layout.rows, last_block * kTile) - first_row;
      // One input: whole sums from groups, sixteen parts of a sum from runs.
      const std::int64_t parts = single && layout.groups != nullptr ? 1 : tile.lanes;
      void* panel = scratch(kPanel, kTile * tile.lanes * rsize);
      void* rows = scratch(kRows, row_count * parts * rsize);
      if (layout.chunks() == 0)
        std::memset(rows, 0, static_cast<std::size_t>(row_count * parts * rsize));
      for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
        if (chunk > 0 &&
            layout.tile_start(chunk, first_block) == layout.tile_end(chunk, last_block - 1)) {
          continue;
        }
        const std::int64_t width = layout.chunk_columns(chunk);
        const char* inputs = at(x.data, tile.first * layout.columns + chunk * kTile, esize);
        if (single) {
          packing.widen[element](inputs, width, panel);
        } else {
          packing.pack[element](inputs, layout.columns, tile.valid, width, tile.lanes, panel);
        }
        for (std::int64_t block = first_block; block < last_block; ++block) {
          void* sums = at(rows, (block - first_block) * kTile * parts, rsize);
          if (chunk == 0) {  // cleared where the kernel finds them in the first cache
            std::memset(sums, 0,
                        static_cast<std::size_t>(layout.block_rows(block) * parts * rsize));
          }
          if (layout.tile_start(chunk, block) == layout.tile_end(chunk, block)) continue;
          multiply_tile(element, layout, chunk, block, single, tile.choice, panel, values, sums);
        }
      }
      const void* group_bias = bias == nullptr ? nullptr : at(bias, first_row, esize);
      char* out = at(y, tile.first * layout.rows + first_row, esize);
      if (single && parts > 1) {
        packing.unpack_vector[element](rows, row_count, group_bias, out);
      } else {
        packing.unpack[element](rows, row_count, parts, group_bias, tile.valid, layout.rows, out);
      }
    }
  });
}

}  // namespace

void multiply(Element element, const Layout& layout, Batch x, const void* values, const void* bias,
              void* y, int threads) {
  if (x.count == 0 || layout.rows == 0) return;
  if (layout.masks == nullptr && (element == kFloat16 || element == kBFloat16)) {
    const std::int64_t nnz = nnz_of(layout);
    void* wide = scratch(kValues, nnz * 4);
    packing_kernels().widen[element](values, nnz, wide);
    values = wide;
  }
  multiply_widened(element, layout, x, values, bias, y, threads);
}

bool masks_pay(Element element, const Pattern& pattern, std::int64_t batch) {
  // Measured break-even between a mask's fixed cost and a cost by non-zeros.
  const double least = element == kFloat32 ? 0.2 : 0.1;  // halves need not be widened first
  return batch == 1 && product_kernels().multiply_masked[element] != nullptr &&
         static_cast<double>(pattern.nnz()) >=
             least * static_cast<double>(pattern.rows()) * static_cast<double>(pattern.columns());
}

void multiply_transposed(Element element, const Pattern& pattern, const Layout& layout, Batch x,
                         const void* values, void* y, int threads) {
  if (x.count == 0 || layout.columns == 0) return;
  if (layout.groups != nullptr) {
    multiply_transposed_blocks(element, layout, x, values, y, threads);
    return;
  }
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
  if (layout.groups != nullptr) {
    sample_blocks(element, layout, grad, x, out, threads);
    return;
  }
  const ProductKernels& kernels = product_kernels();
  const PackingKernels& packing = packing_kernels();
  const std::int64_t nnz = nnz_of(layout);
  const std::int64_t esize = element_size(element);
  const std::int64_t rsize = real_size(element);
  const std::size_t real = real_index(element);
  const bool wide = esize == rsize;
  void* sums = wide ? out : scratch(kValues, nnz * rsize);
  std::fill_n(static_cast<char*>(sums), nnz * rsize, '\0');  // there may be none, at null
  const std::vector<BatchTile> tiles = batch_tiles(grad.count);
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
          for (const BatchTile& tile : tiles) {
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
  std::fill_n(static_cast<char*>(sums), offsets[rows] * rsize, '\0');
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
