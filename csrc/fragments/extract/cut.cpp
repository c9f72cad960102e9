#include "fragments/extract/cut.hpp"

#include <algorithm>

#include "core/cache_size.hpp"
#include "core/parallel.hpp"
#include "fragments/extract/extract_kernel.hpp"
#include "fragments/grid/walk.hpp"

namespace tokfrag {

namespace {

// A batch that takes more of the last-level cache than one part in so many is written around it:
// the model reads a smaller one where it was written.
constexpr std::int64_t kCacheShare = 4;
constexpr std::int64_t kGrainBytes = std::int64_t{1} << 20;
// What is cut from one fragment before the next one's turn: what they share is still in the cache.
constexpr std::int64_t kBlockBytes = std::int64_t{64} << 10;

// Rows that are copied before as many that come after them are asked for.
constexpr std::int64_t kAskedRows = 16;
constexpr std::int64_t kLine = 64;
// The processor guesses the lines of longer rows itself.
constexpr std::int64_t kGuessedBytes = std::int64_t{2} << 10;

// The rows of the two innermost axes.
struct Plane {
  std::int64_t rows;
  std::int64_t row_step;  // bytes, as all
  std::int64_t row_bytes;
};

void ask_for(const char* from, const Plane& plane, std::int64_t first, std::int64_t last) {
  if (plane.row_bytes > kGuessedBytes) return;
  const auto address = reinterpret_cast<std::uintptr_t>(from);
  for (std::int64_t row = first; row < last; ++row) {
    for (std::int64_t at = 0; at < plane.row_bytes; at += kLine) {
      const auto line = address + static_cast<std::uintptr_t>(row * plane.row_step + at);
      __builtin_prefetch(reinterpret_cast<const void*>(line));
    }
  }
}

// The part of one channel of one fragment that has `count` taps of axis 0, plane by plane. Rows are
// far from each other, so that the processor does not guess them: those of the next plane, or
// in the end of the part that comes `next`, are asked for meanwhile.
void cut_part(const CutTask& task, const ExtractKernels& kernels, const char* from,
              std::int64_t count, char* to, bool stream, const char* next) {
  const int last = task.rank - 1;
  std::int64_t size[kMaxAxes];
  std::copy_n(task.size, task.rank, size);
  size[0] = count;
  const std::int64_t step = task.dilation[last] * task.strides[last];
  const Plane rows{last > 0 ? size[last - 1] : 1,
                   last > 0 ? task.dilation[last - 1] * task.strides[last - 1] : 0,
                   size[last] * task.item};
  Odometer outer;
  outer.axes = std::max(last - 1, 0);
  for (int axis = 0; axis < outer.axes; ++axis) outer.length[axis] = size[axis];
  const char* plane = from;
  for (bool more = true; more;) {
    more = outer.advance() >= 0;
    const char* after = more ? from : next;
    for (int axis = 0; more && axis < outer.axes; ++axis) {
      after += outer.position[axis] * task.dilation[axis] * task.strides[axis];
    }
    for (std::int64_t row = 0; row < rows.rows; row += kAskedRows) {
      const std::int64_t end = std::min(row + kAskedRows, rows.rows);
      const char* source = plane + row * rows.row_step;
      if (step == task.item) {
        ask_for(after, rows, row, end);
        kernels.copy_rows(to, rows.row_bytes, source, rows.row_step, rows.row_bytes, end - row,
                          stream);
        to += (end - row) * rows.row_bytes;
      } else {
        for (std::int64_t r = row; r < end; ++r, source += rows.row_step, to += rows.row_bytes) {
          kernels.gather(to, source, step, task.item, size[last]);
        }
      }
    }
    plane = after;
  }
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
  const bool stream = items * taps * tap_bytes > last_level_cache_bytes() / kCacheShare;
  const ExtractKernels& kernels = extract_kernels();
  const auto source = [&](std::int64_t at) {
    const std::int64_t item = at % items;
    const std::int64_t* place = task.places + item / task.channels * (1 + task.rank);
    const char* from = static_cast<const char*>(task.data) + place[0] * task.entry_stride +
                       item % task.channels * task.channel_stride +
                       at / items * part * task.dilation[0] * task.strides[0];
    for (int axis = 0; axis < task.rank; ++axis) from += place[1 + axis] * task.strides[axis];
    return from;
  };
  parallel_for(parts * items, grain, threads, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t at = begin; at < end; ++at) {
      const std::int64_t tap = at / items * part;
      char* to = static_cast<char*>(task.out) + (at % items * taps + tap) * tap_bytes;
      cut_part(task, kernels, source(at), std::min(part, taps - tap), to, stream,
               source(std::min(at + 1, end - 1)));
    }
    kernels.fence();
  });
}

}  // namespace tokfrag
