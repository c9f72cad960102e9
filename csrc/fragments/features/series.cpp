#include "fragments/features/series.hpp"

#include <algorithm>

namespace tokfrag {

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
  BlockTask task = {};
  task.row = row(data, axis_.starts[first], axis_.starts[last - 1] + axis_.size);
  task.begins = cuts_.begins.data();
  task.lengths = cuts_.lengths.data();
  task.count = cuts_.blocks();
  task.lags = plan_.lags.data();
  task.lag_count = plan_.lag_count();
  task.sums = place_sums();
  (single_ ? kernels_.sum_floats : kernels_.sum_doubles)(task);

  const SumSlots& slots = plan_.slots;
  sums_.resize(static_cast<std::size_t>(slots.count * count + kLaneSlack));
  const auto slot = [&](int k) { return k < 0 ? nullptr : sums_.data() + k * count; };
  WindowTask windows = {};
  windows.blocks = task.sums;
  windows.first = cuts_.first.data();
  windows.last = cuts_.last.data();
  windows.count = count;
  windows.even = cuts_.even;
  windows.values = static_cast<double>(plan_.window_values);
  windows.lags = task.lags;
  windows.lag_count = task.lag_count;
  windows.total = slot(slots.sum);
  windows.squares = slot(slots.squares);
  windows.least = slot(slots.least);
  windows.greatest = slot(slots.greatest);
  windows.steps = slot(slots.differences);
  windows.products = slot(slots.products);
  kernels_.join(windows);
  return sums_.data();
}

// The values at padded positions [from, to), and what may be read after them: where they lie, or
// copied.
const void* SeriesSums::row(const char* data, std::int64_t from, std::int64_t to) {
  const std::int64_t slack = kBlockSlack + reach_;
  const std::int64_t bytes = single_ ? 4 : 8;
  const Dtype own = single_ ? Dtype::kF32 : Dtype::kF64;
  const char* at = data + from * axis_.stride;
  if (plan_.task.type == own && axis_.stride == bytes && to + slack <= axis_.length &&
      reinterpret_cast<std::uintptr_t>(at) % static_cast<std::uintptr_t>(bytes) == 0) {
    return at;
  }
  const std::int64_t wanted = (to - from + slack) * bytes;
  if (row_.size() < wanted) row_ = HugeBuffer(wanted);
  fill(data, from, to, row_.data());
  std::fill_n(row_.as<char>() + (to - from) * bytes, slack * bytes, char{0});
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
  if (blocks_.size() < 8 * apart * arrays) blocks_ = HugeBuffer(8 * apart * arrays);
  double* next = blocks_.as<double>();
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
