#include "sparse/batching.hpp"

#include <algorithm>

#include "core/huge_buffer.hpp"
#include "core/parallel.hpp"

namespace tokfrag::sparse {

namespace {

constexpr std::int64_t kMaxLanes = 64;
// Output rows whose batch tile stays in the second cache.
constexpr std::int64_t kGroupBlocks = 16;
// Below this many multiply-adds a call is faster on one thread (about 100 us).
constexpr double kSerialWork = 4e6;

// Boundaries of runs of about equal work, of at most `most` items each.
std::vector<std::int64_t> cut(const std::vector<std::int64_t>& work, std::int64_t wanted,
                              std::int64_t most) {
  double total = 0;
  for (const std::int64_t w : work) total += static_cast<double>(w);
  const double share = total / static_cast<double>(std::max<std::int64_t>(1, wanted));
  const auto count = static_cast<std::int64_t>(work.size());
  std::vector<std::int64_t> bounds{0};
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    sum += static_cast<double>(work[static_cast<std::size_t>(i)]);
    const bool full = i + 1 - bounds.back() >= most;
    if (full || sum >= share * static_cast<double>(bounds.size()) - 0.5) bounds.push_back(i + 1);
  }
  if (bounds.back() != count) bounds.push_back(count);
  return bounds;
}

}  // namespace

void* scratch(Scratch which, std::int64_t bytes) {
  thread_local HugeBuffer buffers[kScratches];
  HugeBuffer& buffer = buffers[which];
  if (buffer.size() < bytes) buffer = HugeBuffer(bytes);
  return buffer.data();
}

std::vector<BatchTile> batch_tiles(std::int64_t batch) {
  std::vector<BatchTile> tiles;
  for (std::int64_t first = 0; first < batch; first += kMaxLanes) {
    const std::int64_t valid = std::min(kMaxLanes, batch - first);
    const std::size_t choice = valid <= 16 ? 0 : valid <= 32 ? 1 : 2;
    tiles.push_back({first, valid, std::int64_t{16} << choice, choice});
  }
  return tiles;
}

std::vector<std::int64_t> row_groups(const Layout& layout, std::int64_t wanted) {
  std::vector<std::int64_t> work(static_cast<std::size_t>(layout.row_blocks()), 1);
  for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
    for (std::int64_t block = 0; block < layout.row_blocks(); ++block) {
      work[static_cast<std::size_t>(block)] +=
          layout.tile_end(chunk, block) - layout.tile_start(chunk, block);
    }
  }
  return cut(work, wanted, kGroupBlocks);
}

std::vector<std::int64_t> chunk_groups(const Layout& layout, std::int64_t wanted) {
  std::vector<std::int64_t> work(static_cast<std::size_t>(layout.chunks()), 1);
  for (std::int64_t chunk = 0; chunk < layout.chunks(); ++chunk) {
    work[static_cast<std::size_t>(chunk)] +=
        layout.tile_end(chunk, layout.row_blocks() - 1) - layout.tile_start(chunk, 0);
  }
  return cut(work, wanted, layout.chunks());
}

int threads_for(double work, int threads) {
  if (work < kSerialWork) return 1;
  return threads > 0 ? threads : default_threads();
}

}  // namespace tokfrag::sparse
