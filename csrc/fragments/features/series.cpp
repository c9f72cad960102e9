#include "fragments/features/series.hpp"

#include <algorithm>

#include "fragments/features/rows.hpp"

namespace tokfrag {

SeriesSums::SeriesSums(const FeaturePlan& plan)
    : plan_(plan),
      axis_(plan.task.axes[0]),
      kernels_(block_kernels()),
      single_(kernels_.load[static_cast<int>(plan.task.type)] != nullptr),
      reach_(plan.lags.empty() ? 0 : plan.lags.back()) {}

const double* SeriesSums::run(const char* data, std::int64_t first, std::int64_t last) {
  const std::int64_t count = last - first;
  if (!is_cut_alike(first, last)) cut(first, last);
  BlockTask task = {};
  task.row = row(data, axis_.starts[first], axis_.starts[last - 1] + axis_.size);
  task.begins = begins_.data();
  task.lengths = lengths_.data();
  task.count = static_cast<std::int64_t>(begins_.size());
  task.lags = plan_.lags.data();
  task.lag_count = plan_.lag_count();
  task.sums = place_sums();
  (single_ ? kernels_.sum_floats : kernels_.sum_doubles)(task);

  const SumSlots& slots = plan_.slots;
  sums_.resize(static_cast<std::size_t>(slots.count * count + kLaneSlack));
  const auto slot = [&](int k) { return k < 0 ? nullptr : sums_.data() + k * count; };
  WindowTask windows = {};
  windows.blocks = task.sums;
  windows.first = first_.data();
  windows.last = last_.data();
  windows.count = count;
  windows.even = even_;
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

// Whether these windows lie to each other as those that were cut last.
bool SeriesSums::is_cut_alike(std::int64_t first, std::int64_t last) const {
  if (last - first != static_cast<std::int64_t>(starts_.size())) return false;
  const std::int64_t* starts = axis_.starts + first;
  bool alike = true;
  for (std::size_t w = 0; w < starts_.size(); ++w) alike &= starts[w] - starts[0] == starts_[w];
  return alike;
}

void SeriesSums::cut(std::int64_t first, std::int64_t last) {
  const std::int64_t count = last - first;
  starts_.assign(axis_.starts + first, axis_.starts + last);
  for (std::int64_t w = count - 1; w >= 0; --w) starts_[static_cast<std::size_t>(w)] -= starts_[0];
  const std::int64_t* starts = starts_.data();
  first_.resize(static_cast<std::size_t>(count));
  last_.resize(static_cast<std::size_t>(count));
  if (!cut_shared(starts, count)) cut_apart(starts, count);
  for (even_ = 0; even_ < count; ++even_) {
    const auto window = static_cast<std::size_t>(even_);
    if (first_[window] != even_ || last_[window] != even_ + last_[0]) break;
  }
  counts_.assign(lengths_.begin(), lengths_.end());
  counts_.resize(counts_.size() + kLaneSlack);
}

// Cuts where a window starts or ends. False if that does not pay, or makes blocks shorter than
// lags.
bool SeriesSums::cut_shared(const std::int64_t* starts, std::int64_t count) {
  begins_.clear();
  lengths_.clear();
  if (row_ring(starts, count, axis_.size) == 0) return false;
  std::int64_t opened = 0;  // windows whose start has been passed
  std::int64_t closed = 0;  // windows done
  std::int64_t at = starts[0];
  while (closed < count) {
    if (closed == opened) at = starts[opened];  // past a gap between windows
    const auto block = static_cast<std::int64_t>(begins_.size());
    for (; opened < count && starts[opened] == at; ++opened) {
      first_[static_cast<std::size_t>(opened)] = block;
    }
    std::int64_t end = starts[closed] + axis_.size;
    if (opened < count) end = std::min(end, starts[opened]);
    add_parts(at, end);
    if (lengths_.back() < reach_) return false;
    at = end;
    for (; closed < opened && starts[closed] + axis_.size == at; ++closed) {
      last_[static_cast<std::size_t>(closed)] = static_cast<std::int64_t>(begins_.size());
    }
  }
  return true;
}

// Each window into blocks of its own.
void SeriesSums::cut_apart(const std::int64_t* starts, std::int64_t count) {
  begins_.clear();
  lengths_.clear();
  for (std::int64_t w = 0; w < count; ++w) {
    first_[static_cast<std::size_t>(w)] = static_cast<std::int64_t>(begins_.size());
    add_parts(starts[w], starts[w] + axis_.size);
    last_[static_cast<std::size_t>(w)] = static_cast<std::int64_t>(begins_.size());
  }
}

// The last part is never longer than the others.
void SeriesSums::add_parts(std::int64_t begin, std::int64_t end) {
  for (std::int64_t parts = block_parts(end - begin); parts > 0; --parts) {
    const std::int64_t length = (end - begin + parts - 1) / parts;
    begins_.push_back(begin);
    lengths_.push_back(length);
    begin += length;
  }
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
  const std::int64_t apart = static_cast<std::int64_t>(begins_.size()) + kLaneSlack;
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
