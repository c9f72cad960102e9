#include "sparse/bitmap_tiles.hpp"

#include <algorithm>

#include "core/interrupt.hpp"
#include "core/parallel.hpp"
#include "sparse/batching.hpp"
#include "sparse/packing_kernel.hpp"
#include "sparse/products_kernel.hpp"

namespace tokfrag::sparse {

namespace {

// Inputs for which a tile is written out once.
constexpr std::int64_t kMostAtOnce = 256;

// Chunk `chunk` of the inputs of a batch tile, among all that are packed: (chunks, tiles, lanes).
float* panel_of(float* panels, const BatchTile& tile, std::int64_t columns, std::int64_t chunk) {
  return panels + tile.first * columns + chunk * kTile * tile.lanes;
}

BitmapTile tile_of(const Bitmap& matrix, const std::uint64_t* bitmap, const BitmapValues& values,
                   const TileGrid& grid, std::int64_t chunk, std::int64_t block,
                   std::int64_t* next) {
  const std::int64_t row = block * kTile;
  const std::int64_t word = chunk * (kTile / kWordColumns);
  BitmapTile tile{};
  tile.bitmap = bitmap + row * matrix.words() + word;
  tile.stride = matrix.words();
  tile.words = words_along(grid.chunk_columns(chunk));
  tile.rows = grid.block_rows(block);
  tile.values = values.data;
  tile.count = matrix.nnz();
  tile.next = next;
  if (values.scales != nullptr) {
    tile.scale_step = (matrix.words() + values.group_words - 1) / values.group_words;
    for (std::int64_t w = 0; w < tile.words; ++w) {
      tile.scales[w] = values.scales + row * tile.scale_step + (word + w) / values.group_words;
    }
  }
  return tile;
}

}  // namespace

void multiply_by_tiles(const Bitmap& matrix, const std::uint64_t* bitmap,
                       const BitmapValues& values, Element element, const void* x,
                       std::int64_t batch, const void* bias, void* y, int threads) {
  const PackingKernels& packing = packing_kernels();
  const std::int64_t size = element_size(element);
  const TileGrid grid{matrix.rows(), matrix.columns()};
  for (std::int64_t first = 0; first < batch; first += kMostAtOnce) {
    poll_interrupt();
    const std::int64_t count = std::min(kMostAtOnce, batch - first);
    const std::vector<BatchTile> tiles = batch_tiles(count);
    const std::int64_t lanes = tiles.back().first + tiles.back().lanes;
    const std::int64_t padded = grid.chunks() * kTile;
    auto* panels = static_cast<float*>(scratch(kPanel, padded * lanes * 4));
    const double work = static_cast<double>(matrix.nnz()) * static_cast<double>(count);
    const int workers = threads_for(work, threads);
    const auto tile_count = static_cast<std::int64_t>(tiles.size());
    parallel_for(
        tile_count * grid.chunks(), 4, workers, [&](std::int64_t begin, std::int64_t end, int) {
          for (std::int64_t unit = begin; unit < end; ++unit) {
            const BatchTile& tile = tiles[static_cast<std::size_t>(unit / grid.chunks())];
            const std::int64_t chunk = unit % grid.chunks();
            const std::int64_t from = (first + tile.first) * matrix.columns() + chunk * kTile;
            packing.pack[element](at(x, from, size), matrix.columns(), tile.valid,
                                  grid.chunk_columns(chunk), tile.lanes,
                                  panel_of(panels, tile, padded, chunk));
          }
        });
    parallel_for(grid.row_blocks(), 1, workers, [&](std::int64_t begin, std::int64_t end, int) {
      auto* rows = static_cast<float*>(scratch(kRows, kTile * lanes * 4));
      auto* written = static_cast<WrittenTile*>(scratch(kValues, sizeof(WrittenTile)));
      for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t row = block * kTile;
        const std::int64_t block_rows = grid.block_rows(block);
        std::int64_t next[kTile];
        std::copy_n(matrix.starts() + row, block_rows, next);
        std::fill_n(rows, kTile * lanes, 0.0f);
        for (std::int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
          const BitmapTile tile = tile_of(matrix, bitmap, values, grid, chunk, block, next);
          if (bitmap_tile_kernels().write[values.kind](tile, *written) == 0) continue;
          for (const BatchTile& inputs : tiles) {
            product_kernels().multiply[0][inputs.choice](
                panel_of(panels, inputs, padded, chunk), written->values, written->local,
                written->runs, block_rows, rows + inputs.first * kTile);
          }
        }
        for (const BatchTile& inputs : tiles) {
          packing.unpack[element](rows + inputs.first * kTile, block_rows, inputs.lanes,
                                  bias == nullptr ? nullptr : at(bias, row, size), inputs.valid,
                                  matrix.rows(),
                                  at(y, (first + inputs.first) * matrix.rows() + row, size));
        }
      }
    });
  }
}

}  // namespace tokfrag::sparse
