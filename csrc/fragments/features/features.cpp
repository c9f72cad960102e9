#include "fragments/features/features.hpp"

#include <algorithm>

#include "core/checked.hpp"
#include "core/interrupt.hpp"
#include "core/parallel.hpp"
#include "fragments/features/worker.hpp"

namespace tokfrag {

namespace {

// Positions of a series in a chunk: a row of doubles in the L1 cache; or the sums of blocks in the
// L2 cache.
constexpr std::int64_t kChunkPositions = 4096;
constexpr std::int64_t kBlockChunkPositions = 32768;
constexpr std::int64_t kChunkChannels = 16;
constexpr std::int64_t kGrainValues = 32768;  // about 50 microseconds of work

}  // namespace

void fragment_features(const FeatureTask& task, int threads) {
  const FeaturePlan plan(task);
  if (plan.windows == 0 || task.column_count == 0) return;
  // A series is cut into chunks of windows, always alike; a chunk takes its channels one after the
  // other, for their results lie side by side. With more axes, an item is one channel, or a part
  // of its windows along the first axis: as those are summed apart, the cut changes no bit.
  const FeatureAxis& outer = task.axes[0];
  const std::int64_t stride = outer.count > 1 ? outer.starts[1] : outer.size;
  const std::int64_t lanes = task.batch * task.channels;
  std::int64_t chunk = outer.count;
  std::int64_t channels = 1;
  if (task.rank == 1) {
    const std::int64_t least = plan.in_blocks ? kBlockChunkPositions : kChunkPositions;
    const std::int64_t positions = std::max(least, 8 * outer.size);
    chunk = std::max<std::int64_t>(1, (positions - outer.size) / stride + 1);
    channels = kChunkChannels;
  } else if (threads != 1 && lanes > 0) {
    const std::int64_t wanted = 4 * (threads > 0 ? threads : default_threads());
    chunk = std::max<std::int64_t>(1, outer.count * lanes / wanted);
  }
  const std::int64_t chunks = (outer.count + chunk - 1) / chunk;
  const std::int64_t groups = (task.channels + channels - 1) / channels;
  const std::int64_t items = checked_multiply(checked_multiply(task.batch, groups), chunks);
  const std::int64_t item_values = std::min(channels, task.channels) * chunk *
                                   std::min(stride, outer.size) * (plan.window_values / outer.size);
  const std::int64_t grain = kGrainValues / std::max<std::int64_t>(item_values, 1);
  parallel_for(items, grain, threads, [&](std::int64_t begin, std::int64_t end, int) {
    FeatureWorker worker(plan);
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t group = item % groups;
      const std::int64_t part = item / groups % chunks;
      const std::int64_t batch = item / groups / chunks;
      const std::int64_t last_channel = std::min(task.channels, (group + 1) * channels);
      for (std::int64_t c = group * channels; c < last_channel; ++c) {
        worker.run(batch, c, part * chunk, std::min(outer.count, (part + 1) * chunk));
        poll_interrupt();
      }
    }
  });
}

}  // namespace tokfrag
