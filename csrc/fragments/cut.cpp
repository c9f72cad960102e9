#include "fragments/cut.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "fragments/extract_kernel.hpp"
#include "fragments/grid_walk.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kGrainBytes = std::int64_t{128} << 10;

// One channel of one fragment, rows of its two innermost axes at a time.
void cut_channel(const CutTask& task, const ExtractKernels& kernels, const char* from, char* to) {
  const int last = task.rank - 1;
  const std::int64_t step = task.dilation[last] * task.strides[last];
  const std::int64_t row_bytes = task.size[last] * task.item;
  const std::int64_t rows = last > 0 ? task.size[last - 1] : 1;
  const std::int64_t row_step = last > 0 ? task.dilation[last - 1] * task.strides[last - 1] : 0;
  Odometer outer;
  outer.axes = std::max(last - 1, 0);
  for (int axis = 0; axis < outer.axes; ++axis) outer.length[axis] = task.size[axis];
  do {
    const char* plane = from;
    for (int axis = 0; axis < outer.axes; ++axis) {
      plane += outer.position[axis] * task.dilation[axis] * task.strides[axis];
    }
    if (step == task.item) {
      kernels.copy_rows(to, row_bytes, plane, row_step, row_bytes, rows, false);
    } else {
      for (std::int64_t row = 0; row < rows; ++row) {
        kernels.gather(to + row * row_bytes, plane + row * row_step, step, task.item,
                       task.size[last]);
      }
    }
    to += rows * row_bytes;
  } while (outer.advance() >= 0);
}

}  // namespace

void cut(const CutTask& task, int threads) {
  std::int64_t bytes = task.item;
  for (int axis = 0; axis < task.rank; ++axis) bytes *= task.size[axis];
  const ExtractKernels& kernels = extract_kernels();
  parallel_for(task.count * task.channels, kGrainBytes / std::max<std::int64_t>(bytes, 1) + 1,
               threads, [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t item = begin; item < end; ++item) {
                   const std::int64_t* place = task.places + item / task.channels * (1 + task.rank);
                   const char* from = static_cast<const char*>(task.data) +
                                      place[0] * task.entry_stride +
                                      item % task.channels * task.channel_stride;
                   for (int axis = 0; axis < task.rank; ++axis) {
                     from += place[1 + axis] * task.strides[axis];
                   }
                   cut_channel(task, kernels, from, static_cast<char*>(task.out) + item * bytes);
                 }
               });
}

}  // namespace tokfrag
