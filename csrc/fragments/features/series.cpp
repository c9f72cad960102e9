#include "fragments/features/series.hpp"

#include <algorithm>

#include "fragments/features/joining.hpp"

namespace tokfrag {

namespace {

// The sums of the blocks from number `block` on.
BlockSums blocks_from(BlockSums sums, std::int64_t block) {
  sums.count += block;
  for (double** each :
       {&sums.mean, &sums.squares, &sums.least, &sums.greatest, &sums.steps, &sums.step_out,
        &sums.products, &sums.edges, &sums.products_out, &sums.edges_out}) {
    *each += block;
  }
  return sums;
}

}  // namespace

SeriesSums::SeriesSums(const FeaturePlan& plan)
    : plan_(plan),
      axis_(plan.task.axes[0]),
      kernels_(block_kernels()),
      single_(kernels_.load[static_cast<int>(plan.task.type)] != nullptr),
      reach_(plan.lags.empty() ? 0 : plan.lags.back()),
      cuts_(axis_.size, reach_) {}

const double* SeriesSums::run(const char* data, std::int64_t first, std::int64_t last) {
  const std::int64_t count = last - first;
  if (cuts_.cut(axis_.starts + first, count)) {
    counts_.assign(cuts_.lengths.begin(), cuts_.lengths.end());
    counts_.resize(counts_.size() + kLaneSlack);
  }
  blocks_ = place_sums();
  const bool wild = sum_blocks(data, axis_.starts[first], axis_.starts[last - 1] + axis_.size);

  const SumSlots& slots = plan_.slots;
  sums_.resize(static_cast<std::size_t>(slots.count * count + kLaneSlack));
  const auto slot = [&](int k) { return k < 0 ? nullptr : sums_.data() + k * count; };
  WindowTask windows = {};
  windows.blocks = blocks_;
  windows.first = cuts_.first.data();
  windows.last = cuts_.last.data();
  windows.count = count;
  windows.even = cuts_.even;
  windows.wild = wild;
  windows.values = static_cast<double>(plan_.window_values);
  windows.lags = plan_.lags.data();
  windows.lag_count = plan_.lag_count();
  windows.total = slot(slots.sum);
  windows.squares = slot(slots.squares);
  windows.least = slot(slots.least);
  windows.greatest = slot(slots.greatest);
  windows.steps = slot(slots.differences);
  windows.products = slot(slots.products);
  joining_kernels().join(windows);
  return sums_.data();
}

// The blocks of the values at padded positions [from, to): most where they lie, and the last ones,
// if there are no values that may be read after them, in a copy. True if some are wild.
bool SeriesSums::sum_blocks(const char* data, std::int64_t from, std::int64_t to) {
  BlockTask task = {};
  task.begins = cuts_.begins.data();
  task.lengths = cuts_.lengths.data();
  task.even = cuts_.common;
  task.lags = plan_.lags.data();
  task.lag_count = plan_.lag_count();
  task.sums = blocks_;
  const auto sum = single_ ? kernels_.sum_floats : kernels_.sum_doubles;
  bool wild = false;
  const std::int64_t here = blocks_in_place(data, from, to);
  if (here > 0) {
    task.row = data + from * axis_.stride;
    task.count = here;
    wild = sum(task);
  }
  if (here == cuts_.blocks()) return wild;
  const auto rest = cuts_.begins.begin() + here;
  const std::int64_t begin = *std::min_element(rest, cuts_.begins.end());
  begins_.assign(rest, cuts_.begins.end());
  for (std::int64_t& position : begins_) position -= begin;
  task.row = copy_row(data, from + begin, to);
  task.begins = begins_.data();
  task.lengths += here;
  task.count = cuts_.blocks() - here;
  task.sums = blocks_from(blocks_, here);
  return sum(task) || wild;
}

// How many blocks, from the first one on, can be read where they lie.
std::int64_t SeriesSums::blocks_in_place(const char* data, std::int64_t from,
                                         std::int64_t to) const {
  const std::int64_t bytes = single_ ? 4 : 8;
  const auto address = reinterpret_cast<std::uintptr_t>(data + from * axis_.stride);
  if (plan_.task.type != (single_ ? Dtype::kF32 : Dtype::kF64) || axis_.stride != bytes ||
      address % static_cast<std::uintptr_t>(bytes) != 0) {
    return 0;
  }
  const std::int64_t end = axis_.length - slack() - from;
  if (to - from <= end) return cuts_.blocks();
  std::size_t block = 0;
  while (block < cuts_.begins.size() && cuts_.begins[block] + cuts_.lengths[block] <= end) ++block;
  return static_cast<std::int64_t>(block);
}

// The values at padded positions [from, to), and what may be read after them.
const void* SeriesSums::copy_row(const char* data, std::int64_t from, std::int64_t to) {
  const std::int64_t bytes = single_ ? 4 : 8;
  const std::int64_t wanted = (to - from + slack()) * bytes;
  if (row_.size() < wanted) row_ = HugeBuffer(wanted);
  fill(data, from, to, row_.data());
  std::fill_n(row_.as<char>() + (to - from) * bytes, slack() * bytes, char{0});
  return row_.data();
}

void SeriesSums::fill(const char* data, std::int64_t from, std::int64_t to, void* out) const {
  const FeatureTask& task = plan_.task;
  const int type = static_cast<int>(task.type);
  const auto read = [&](std::int64_t position, std::int64_t count, std::int64_t at) {
    const char* source = data + position * axis_.stride;
    if (single_) {
      kernels_.load[type](source, axis_.stride, count, static_cast<float*>(out) + at);
    } else {
      feature_kernels().load[type](source, axis_.stride, count, 0.0,
                                   static_cast<double*>(out) + at);
    }
  };
  const std::int64_t inside = std::min(to, axis_.length);
  if (inside > from) read(from, inside - from, 0);
  for (std::int64_t p = std::max(inside, from); p < to; ++p) {
    const std::int64_t source = source_position(axis_.length, task.pad_mode, p);
    if (source != kNoSource) {
      read(source, 1, p - from);
    } else if (single_) {
      static_cast<float*>(out)[p - from] = static_cast<float>(task.pad_value);
    } else {
      static_cast<double*>(out)[p - from] = task.pad_value;
    }
  }
}

// Room for the sums of all blocks.
BlockSums SeriesSums::place_sums() {
  const std::int64_t apart = cuts_.blocks() + kLaneSlack;
  const std::int64_t arrays = kBlockMoments + kBlockLagSums * plan_.lag_count();
  if (block_room_.size() < 8 * apart * arrays) block_room_ = HugeBuffer(8 * apart * arrays);
  double* next = block_room_.as<double>();
  const auto take = [&](std::int64_t rows) {
    double* taken = next;
    next += rows * apart;
    return taken;
  };
  BlockSums sums = {};
  sums.apart = apart;
  sums.count = counts_.data();
  for (double** moment :
       {&sums.mean, &sums.squares, &sums.least, &sums.greatest, &sums.steps, &sums.step_out}) {
    *moment = take(1);
  }
  for (double** of_lags : {&sums.products, &sums.edges, &sums.products_out, &sums.edges_out}) {
    *of_lags = take(plan_.lag_count());
  }
  return sums;
}

}  // namespace tokfrag
