// cut: some of a grid's fragments, a batch at a time, for a model that comes next.
//
//   out[i, c, k] = data[entry(i), c, origin(i) + dilation * k]
//
// Some planes of each fragment at a time, through the cache: fragments of a batch mostly share what
// they are cut from, and what is written is read at once. `extract` is for all at a time.
#pragma once

#include <cstdint>

#include "fragments/grid/grid.hpp"

namespace tokfrag {

struct CutTask {
  const void* data;
  std::int64_t item;  // bytes of a number; strides are in bytes too
  std::int64_t entry_stride;
  std::int64_t channel_stride;
  std::int64_t strides[kMaxAxes];
  int rank;
  std::int64_t count;
  std::int64_t channels;
  std::int64_t size[kMaxAxes];
  std::int64_t dilation[kMaxAxes];
  const std::int64_t* places;  // (count, 1 + rank): entry and origin; windows lie inside the data
  void* out;                   // contiguous (count, channels, *size)
};

void cut(const CutTask& task, int threads);

}  // namespace tokfrag
