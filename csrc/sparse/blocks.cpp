#include "sparse/blocks.hpp"

#include <algorithm>
#include <cstring>

#include "core/parallel.hpp"
#include "sparse/batching.hpp"
#include "sparse/blocks_kernel.hpp"

namespace tokfrag::sparse {

void multiply_transposed_blocks(Element element, const Layout& layout, Batch x, const void* values,
                                void* y, int threads) {
  const PackingKernels& packing = packing_kernels();
  const std::int64_t esize = element_size(element);
  const std::int64_t rsize = real_size(element);
  if (esize != rsize) {
    void* wide = scratch(kValues, nnz_of(layout) * rsize);
    packing.widen[element](values, nnz_of(layout), wide);
    values = wide;
  }
  const std::vector<BatchTile> tiles = batch_tiles(x.count);
  const auto tile_count = static_cast<std::int64_t>(tiles.size());
  threads =
      threads_for(static_cast<double>(nnz_of(layout)) * static_cast<double>(x.count), threads);
  const std::int64_t wanted = threads == 1 ? 1 : (4 * threads + tile_count - 1) / tile_count;
  const std::vector<std::int64_t> bounds = chunk_groups(layout, wanted);
  const auto shares = static_cast<std::int64_t>(bounds.size()) - 1;

  parallel_for(tile_count * shares, 1, threads, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const BatchTile& tile = tiles[static_cast<std::size_t>(unit / shares)];
      const auto scatter = block_kernels().scatter[real_index(element)][tile.choice];
      void* panel = scratch(kPanel, kTile * tile.lanes * rsize);
      void* rows = scratch(kRows, layout.rows * tile.lanes * rsize);
      packing.pack[element](at(x.data, tile.first * layout.rows, esize), layout.rows, tile.valid,
                            layout.rows, tile.lanes, rows);
      const std::int64_t last = bounds[static_cast<std::size_t>(unit % shares) + 1];
      for (std::int64_t chunk = bounds[static_cast<std::size_t>(unit % shares)]; chunk < last;
           ++chunk) {
        const std::int64_t width = layout.chunk_columns(chunk);
        std::memset(panel, 0, static_cast<std::size_t>(width * tile.lanes * rsize));
        for (std::int64_t block = 0; block < layout.row_blocks(); ++block) {
          scatter(at(rows, block * kTile * tile.lanes, rsize),
                  at(values, layout.tile_start(chunk, block), rsize),
                  layout.tile_group_columns(chunk, block), layout.tile_groups(chunk, block),
                  layout.block_groups(block), panel);
        }
        packing.unpack[element](panel, width, tile.lanes, nullptr, tile.valid, layout.columns,
                                at(y, tile.first * layout.columns + chunk * kTile, esize));
      }
    }
  });
}

void sample_blocks(Element element, const Layout& layout, Batch grad, const void* x, void* out,
                   int threads) {
  const PackingKernels& packing = packing_kernels();
  const std::int64_t esize = element_size(element);
  const std::int64_t rsize = real_size(element);
  const std::size_t real = real_index(element);
  const std::int64_t nnz = nnz_of(layout);
  const bool wide = esize == rsize;
  void* folded = wide ? out : scratch(kValues, nnz * rsize);
  // Two sums, of even and of odd inputs, for each block and each of its eight rows.
  constexpr std::int64_t kParts = 2 * kGroupRows;
  void* sums =
      scratch(kSums, layout.group_starts[layout.chunks() * layout.row_blocks()] * kParts * rsize);
  const std::vector<BatchTile> tiles = batch_tiles(grad.count);
  if (tiles.empty()) {
    std::fill_n(static_cast<char*>(out), nnz * esize, '\0');
    return;
  }
  threads = threads_for(static_cast<double>(nnz) * static_cast<double>(grad.count), threads);
  const std::vector<std::int64_t> bounds = row_groups(layout, threads == 1 ? 1 : 2 * threads);

  const auto work_on = [&](std::int64_t first_block, std::int64_t last_block) {
    const std::int64_t first_row = first_block * kTile;
    const std::int64_t row_count = std::min(layout.rows, last_block * kTile) - first_row;
    const std::int64_t padded = (row_count + kGroupRows - 1) / kGroupRows * kGroupRows;
    for (const BatchTile& tile : tiles) {
      const bool fresh = &tile == &tiles.front();
      const bool last = &tile == &tiles.back();
      void* panel = scratch(kPanel, kTile * tile.lanes * rsize);
      void* pairs = scratch(kRows, padded * tile.lanes * rsize);
      packing.pack_pairs[element](at(grad.data, tile.first * layout.rows + first_row, esize),
                                  layout.rows, tile.valid, row_count, tile.lanes, pairs);
      for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
        packing.pack[element](at(x, tile.first * layout.columns + chunk * kTile, esize),
                              layout.columns, tile.valid, layout.chunk_columns(chunk), tile.lanes,
                              panel);
        for (std::int64_t block = first_block; block < last_block; ++block) {
          const RowGroup* groups = layout.tile_groups(chunk, block);
          const std::int64_t count = layout.block_groups(block);
          void* tile_sums = at(sums, layout.tile_group_start(chunk, block) * kParts, rsize);
          block_kernels().sample[real](
              panel, at(pairs, (block - first_block) * kTile * tile.lanes, rsize), tile.lanes,
              layout.tile_group_columns(chunk, block), groups, count, fresh, tile_sums);
          if (last) {
            packing.fold_pairs[real](tile_sums, groups, count,
                                     at(folded, layout.tile_start(chunk, block), rsize));
          }
        }
      }
    }
  };
  parallel_for(static_cast<std::int64_t>(bounds.size()) - 1, 1, threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t share = begin; share < end; ++share) {
                   work_on(bounds[static_cast<std::size_t>(share)],
                           bounds[static_cast<std::size_t>(share) + 1]);
                 }
               });
  if (!wide) packing.narrow[element](folded, nnz, out);
}

}  // namespace tokfrag::sparse
