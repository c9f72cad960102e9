#include "stream/patches.hpp"

#include <algorithm>

#include "core/parallel.hpp"

namespace tokfrag {

namespace {

// An output up to this size is likely read from the caches.
constexpr std::int64_t kCached = 4 << 20;

}  // namespace

void patchify(PatchTask task, int threads) {
  if (task.strips == 0) return;
  std::int64_t values = 0;
  for (std::int64_t i = 0; i < task.item_count; ++i) {
    const PatchItem& item = task.items[i];
    values += item.t * item.h * item.w;
  }
  values *= task.frames_per_patch * task.patch_rows * task.patch_columns * task.channels;
  const std::int64_t bytes = task.out_type == Dtype::kF32 ? 4 : task.out_type == Dtype::kU8 ? 1 : 2;
  task.past_caches = values * bytes > kCached;
  // About 50 microseconds of work.
  const std::int64_t grain =
      std::max<std::int64_t>(1, 200000 / std::max<std::int64_t>(1, values / task.strips));
  parallel_for(task.strips, grain, threads, [&](std::int64_t begin, std::int64_t end, int) {
    patch_kernels().run(task, begin, end);
  });
}

}  // namespace tokfrag
