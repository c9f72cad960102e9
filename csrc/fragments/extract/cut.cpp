#include "fragments/extract/cut.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "fragments/extract/extract_kernel.hpp"
#include "fragments/grid/walk.hpp"

namespace tokfrag {

namespace {

// Batches beyond this are written around the cache, most of which they would take.
constexpr std::int64_t kStreamBytes = std::int64_t{2} << 20;
constexpr std::int64_t kGrainBytes = std::int64_t{1} << 20;
// What is cut from one fragment before the next one's turn: what they share is still in the cache.
constexpr std::int64_t kBlockBytes = std::int64_t{64} << 10;

// The part of one channel of one fragment that has `count` taps of axis 0, rows of its two
// innermost axes at a time.
void cut_part(const CutTask& task, const ExtractKernels& kernels, const char* from,
              std::int64_t count, char* to, bool stream) {
  const int last = task.rank - 1;
  std::int64_t size[kMaxAxes];
  std::copy_n(task.size, task.rank, size);
  size[0] = count;
  const std::int64_t step = task.dilation[last] * task.strides[last];
  const std::int64_t row_bytes = size[last] * task.item;
  const std::int64_t rows = last > 0 ? size[last - 1] : 1;
  const std::int64_t row_step = last > 0 ? task.dilation[last - 1] * task.strides[last - 1] : 0;
  Odometer outer;
  outer.axes = std::max(last - 1, 0);
  for (int axis = 0; axis < outer.axes; ++axis) outer.length[axis] = size[axis];
  do {
    const char* plane = from;
    for (int axis = 0; axis < outer.axes; ++axis) {
      plane += outer.position[axis] * task.dilation[axis] * task.strides[axis];
    }
    if (step == task.item) {
      kernels.copy_rows(to, row_bytes, plane, row_step, row_bytes, rows, stream);
    } else {
      for (std::int64_t row = 0; row < rows; ++row) {
        kernels.gather(to + row * row_bytes, plane + row * row_step, step, task.item, size[last]);
      }
    }
    to += rows * row_bytes;
  } while (outer.advance() >= 0);
}

}  // namespace

void cut(const CutTask& task, int threads) {
  std::int64_t tap_bytes = task.item;  // of one tap of axis 0
  for (int axis = 1; axis < task.rank; ++axis) tap_bytes *= task.size[axis];
  const std::int64_t taps = task.size[0];
  const std::int64_t part = std::clamp(kBlockBytes / std::max<std::int64_t>(tap_bytes, 1),
                                       std::int64_t{1}, std::max<std::int64_t>(taps, 1));
  const std::int64_t parts = (taps + part - 1) / part;
  const std::int64_t items = task.count * task.channels;
  const std::int64_t grain = kGrainBytes / std::max<std::int64_t>(part * tap_bytes, 1) + 1;
  const bool stream = items * taps * tap_bytes > kStreamBytes;
  const ExtractKernels& kernels = extract_kernels();
  parallel_for(parts * items, grain, threads, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t at = begin; at < end; ++at) {
      const std::int64_t item = at % items;
      const std::int64_t tap = at / items * part;
      const std::int64_t* place = task.places + item / task.channels * (1 + task.rank);
      const char* from = static_cast<const char*>(task.data) + place[0] * task.entry_stride +
                         item % task.channels * task.channel_stride +
                         tap * task.dilation[0] * task.strides[0];
      for (int axis = 0; axis < task.rank; ++axis) from += place[1 + axis] * task.strides[axis];
      cut_part(task, kernels, from, std::min(part, taps - tap),
               static_cast<char*>(task.out) + (item * taps + tap) * tap_bytes, stream);
    }
    kernels.fence();
  });
}

}  // namespace tokfrag
