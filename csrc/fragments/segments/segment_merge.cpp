#include "fragments/segments/segment_merge.hpp"

#include <algorithm>
#include <cstring>

#include "core/checked.hpp"
#include "core/huge_buffer.hpp"
#include "core/interrupt.hpp"
#include "core/parallel.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kPollEvery = std::int64_t{1} << 16;
constexpr std::int64_t kColumnBlock = 1024;    // columns worth an item of their own
constexpr std::int64_t kGrainBytes = 1 << 19;  // about 50 microseconds of memory traffic

std::int64_t element_size(Dtype type) {
  return type == Dtype::kF64 ? 8 : type == Dtype::kF32 ? 4 : 2;
}

std::int64_t weight_size(Dtype type) { return type == Dtype::kF64 ? 8 : 4; }

template <class Pointer>
Pointer advance(Pointer base, std::int64_t bytes) {
  using Bytes = std::conditional_t<std::is_same_v<Pointer, const void*>, const char*, char*>;
  return base == nullptr ? base : static_cast<Pointer>(static_cast<Bytes>(base) + bytes);
}

// Stable counting sort of [0, rows) by destination; offsets has segments + 1 entries.
void sort_by_destination(const std::int64_t* index, std::int64_t rows, std::int64_t segments,
                         std::int64_t* offsets, std::int64_t* order) {
  std::fill(offsets, offsets + segments + 1, 0);
  for (std::int64_t i = 0; i < rows; ++i) {
    ++offsets[index[i]];
    if (i % kPollEvery == 0) poll_interrupt();
  }
  std::int64_t total = 0;
  for (std::int64_t d = 0; d <= segments; ++d) {
    const std::int64_t count = offsets[d];
    offsets[d] = total;
    total += count;
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    order[offsets[index[i]]++] = i;
    if (i % kPollEvery == 0) poll_interrupt();
  }
  // Every offset has moved to the end of its segment, the beginning of the next.
  for (std::int64_t d = segments; d > 0; --d) offsets[d] = offsets[d - 1];
  offsets[0] = 0;
}

std::int64_t grain_of(std::int64_t items, std::int64_t bytes) {
  return std::max<std::int64_t>(1, items * kGrainBytes / std::max<std::int64_t>(bytes, 1));
}

}  // namespace

std::int64_t find_bad_index(const std::int64_t* index, std::int64_t count, std::int64_t segments) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (index[i] < 0 || index[i] >= segments) return i;
    if (i % kPollEvery == 0) poll_interrupt();
  }
  return -1;
}

void segment_reduce(const SegmentReduce& task, int threads) {
  const std::int64_t element = element_size(task.type);
  const std::int64_t weight_bytes = weight_size(task.type);
  const std::int64_t offsets_size = checked_add(task.segments, 1);
  const HugeBuffer table(
      checked_multiply(8, checked_multiply(task.batch, checked_add(offsets_size, task.rows))));
  std::int64_t* offsets = table.as<std::int64_t>();
  std::int64_t* order = offsets + task.batch * offsets_size;
  parallel_for(task.batch, grain_of(task.batch, task.batch * task.rows * 32), threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t b = begin; b < end; ++b) {
                   sort_by_destination(task.index + b * task.rows, task.rows, task.segments,
                                       offsets + b * offsets_size, order + b * task.rows);
                 }
               });

  const std::int64_t blocks =
      std::max<std::int64_t>(1, (task.columns + kColumnBlock - 1) / kColumnBlock);
  const std::int64_t items = checked_multiply(checked_multiply(task.batch, task.segments), blocks);
  const std::int64_t bytes =
      task.batch * (task.rows + task.segments) * (task.columns * element + 16);
  const auto reduce = segment_kernels().reduce[segment_type(task.type)];
  parallel_for(items, grain_of(items, bytes), threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 while (begin < end) {
                   const std::int64_t block = begin % blocks;
                   const std::int64_t flat = begin / blocks;
                   const std::int64_t b = flat / task.segments;
                   const std::int64_t first = flat % task.segments;
                   // With one block a row, a run of segments goes to the kernel in one call.
                   std::int64_t last = first + 1;
                   if (blocks == 1) {
                     // Not so long a run that Ctrl-C would wait for it.
                     const std::int64_t* ends = offsets + b * offsets_size;
                     const std::int64_t most = std::min(task.segments, first + end - begin);
                     while (last < most && ends[last + 1] - ends[first] <= kPollEvery) ++last;
                   }
                   poll_interrupt();
                   const SegmentRows rows = {
                       advance(task.x, b * task.x_batch_stride * element),
                       task.x_row_stride,
                       advance(task.weight, b * task.rows * weight_bytes),
                       offsets + b * offsets_size,
                       order + b * task.rows,
                       advance(task.y, b * task.segments * task.columns * element),
                       advance(task.weight_sum, b * task.segments * weight_bytes),
                       task.columns,
                       task.mean,
                   };
                   const std::int64_t column = block * kColumnBlock;
                   reduce(rows, first, last, column, std::min(task.columns, column + kColumnBlock));
                   begin += last - first;
                 }
               });
}

void segment_gather(const SegmentGather& task, int threads) {
  const std::int64_t element = element_size(task.type);
  const std::int64_t row_bytes = task.columns * element;
  const std::int64_t items = checked_multiply(task.batch, task.rows);
  const auto scale_row = segment_kernels().scale_row[segment_type(task.type)];
  parallel_for(items, grain_of(items, items * 2 * row_bytes), threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t source =
                       (i / task.rows) * task.y_batch_stride + task.index[i] * task.y_row_stride;
                   const void* row = advance(task.y, source * element);
                   void* out = advance(task.x, i * row_bytes);
                   if (task.scale == nullptr) {
                     std::memcpy(out, row, static_cast<std::size_t>(row_bytes));
                   } else if (task.type == Dtype::kF64) {
                     scale_row(row, static_cast<const double*>(task.scale)[i], out, task.columns);
                   } else {
                     const float scale = static_cast<const float*>(task.scale)[i];
                     scale_row(row, static_cast<double>(scale), out, task.columns);
                   }
                 }
               });
}

}  // namespace tokfrag
