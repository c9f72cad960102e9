#include "fragments/features/series.hpp"

#include <algorithm>

#include "fragments/features/joining.hpp"

namespace tokfrag {

namespace {

// The sums of the blocks from number `block` on.
BlockSums blocks_from(BlockSums sums, std::int64_t block) {
  sums.count += block;
  for (double** each :
       {&sums.pivot, &sums.residual, &sums.squares, &sums.least, &sums.greatest, &sums.steps,
        &sums.step_out, &sums.products, &sums.all_products, &sums.ends, &sums.turns}) {
    *each += block;
  }
  return sums;
}

// Past the last value of the data; null if it is not the one at the highest address.
const char* end_of(const FeatureTask& task, std::int64_t bytes) {
  std::int64_t offset =
      (task.batch - 1) * task.batch_stride + (task.channels - 1) * task.channel_stride;
  bool ascends = task.batch_stride >= 0 && task.channel_stride >= 0;
  for (int a = 0; a < task.rank; ++a) {
    offset += (task.axes[a].length - 1) * task.axes[a].stride;
    ascends = ascends && task.axes[a].stride >= 0;
  }
  return ascends ? static_cast<const char*>(task.x) + offset + bytes : nullptr;
}

}  // namespace

SeriesSums::SeriesSums(const FeaturePlan& plan, int axis)
    : plan_(plan),
      axis_(plan.task.axes[axis]),
      kernels_(block_kernels()),
      single_(kernels_.load[static_cast<int>(plan.task.type)] != nullptr),
      reach_(plan.lags.empty() ? 0 : plan.lags.back()),
      end_(end_of(plan.task, single_ ? 4 : 8)),
      cuts_(axis_.size, reach_),
      work_(kBlockRoomBytes) {}

const double* SeriesSums::run(const char* data, std::int64_t rows, std::int64_t apart,
                              std::int64_t first, std::int64_t last) {
  const std::int64_t count = last - first;
  if (cuts_.cut(axis_.starts + first, count)) rows_ = counted_rows_ = 0;
  count_rows(rows);
  const std::int64_t from = axis_.starts[first];
  const std::int64_t to = axis_.starts[last - 1] + axis_.size;
  blocks_ = place_sums(rows);
  const bool wild = rows == 1 ? sum_row(data, from, to) : sum_rows(data, rows, apart, from, to);
  const std::int64_t per_row = plan_.slots.count * count;
  sums_.resize(static_cast<std::size_t>(rows * per_row + kLaneSlack));
  for (std::int64_t r = 0; r < rows; ++r) join(r, wild, sums_.data() + r * per_row);
  return sums_.data();
}

std::int64_t SeriesSums::rows_at_once() const {
  constexpr std::int64_t kBlocks = 512;
  constexpr std::int64_t kValues = 32768;
  const std::int64_t row_values = axis_.starts[axis_.count - 1] + axis_.size;
  // At least as many blocks as windows.
  const std::int64_t rows = std::min(kBlocks / axis_.count, kValues / row_values);
  return std::max<std::int64_t>(rows, 1);
}

// The lengths of the blocks of as many rows, or more.
void SeriesSums::count_rows(std::int64_t rows) {
  if (rows <= counted_rows_) return;
  counted_rows_ = rows;
  counts_.clear();
  for (std::int64_t r = 0; r < rows; ++r) {
    counts_.insert(counts_.end(), cuts_.lengths.begin(), cuts_.lengths.end());
  }
  counts_.resize(counts_.size() + kLaneSlack);
}

void SeriesSums::join(std::int64_t row, bool wild, double* sums) const {
  const SumSlots& slots = plan_.slots;
  WindowTask windows = {};
  windows.blocks = blocks_from(blocks_, row * cuts_.blocks());
  windows.first = cuts_.first.data();
  windows.last = cuts_.last.data();
  windows.count = static_cast<std::int64_t>(cuts_.first.size());
  windows.even = cuts_.even;
  windows.wild = wild;
  windows.values = static_cast<double>(axis_.size);
  windows.lags = plan_.lags.data();
  windows.lag_count = plan_.lag_count();
  const auto slot = [&](int k) { return k < 0 ? nullptr : sums + k * windows.count; };
  windows.mean = slot(slots.sum);
  windows.squares = slot(slots.squares);
  windows.least = slot(slots.least);
  windows.greatest = slot(slots.greatest);
  windows.steps = slot(slots.differences);
  windows.products = slot(slots.products);
  joining_kernels().join(windows);
}

// Of a row's blocks, without the row.
BlockTask SeriesSums::block_task() const {
  BlockTask task = {};
  task.begins = cuts_.begins.data();
  task.lengths = cuts_.lengths.data();
  task.count = cuts_.blocks();
  task.even = cuts_.common;
  task.adjoining = cuts_.adjoining;
  task.whole = plan_.task.type <= Dtype::kI16;
  task.lags = plan_.lags.data();
  task.lag_count = plan_.lag_count();
  task.sums = blocks_;
  task.room = work_.data();
  return task;
}

// The blocks of the values at padded positions [from, to): most where they lie, and the last ones,
// if there are no values that may be read after them, in a copy. True if some are wild.
bool SeriesSums::sum_row(const char* data, std::int64_t from, std::int64_t to) {
  BlockTask task = block_task();
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
  rows_ = 0;
  begins_.assign(rest, cuts_.begins.end());
  for (std::int64_t& position : begins_) position -= begin;
  task.row = copy_rows(data, 1, 0, from + begin, to);
  task.begins = begins_.data();
  task.lengths += here;
  task.count = cuts_.blocks() - here;
  task.sums = blocks_from(blocks_, here);
  return sum(task) || wild;
}

// The blocks of several rows side by side: where they lie, if all may be read there.
bool SeriesSums::sum_rows(const char* data, std::int64_t rows, std::int64_t apart,
                          std::int64_t from, std::int64_t to) {
  const bool here = apart % bytes() == 0 &&
                    blocks_in_place(data + (rows - 1) * apart, from, to) == cuts_.blocks();
  const std::int64_t between = here ? apart / bytes() : to - from;
  place_rows(rows, between);
  BlockTask task = block_task();
  task.row = here ? data + from * axis_.stride : copy_rows(data, rows, apart, from, to);
  task.begins = begins_.data();
  task.lengths = lengths_.data();
  task.count *= rows;
  task.adjoining = task.adjoining && between == cuts_.blocks() * cuts_.common;
  return (single_ ? kernels_.sum_floats : kernels_.sum_doubles)(task);
}

// Where the blocks of as many rows lie, or of more.
void SeriesSums::place_rows(std::int64_t rows, std::int64_t between) {
  if (rows <= rows_ && between == between_) return;
  rows_ = rows;
  between_ = between;
  begins_.clear();
  lengths_.clear();
  for (std::int64_t r = 0; r < rows; ++r) {
    for (const std::int64_t begin : cuts_.begins) begins_.push_back(r * between + begin);
    lengths_.insert(lengths_.end(), cuts_.lengths.begin(), cuts_.lengths.end());
  }
}

// How many blocks, from the first one on, can be read where they lie.
std::int64_t SeriesSums::blocks_in_place(const char* data, std::int64_t from,
                                         std::int64_t to) const {
  const auto address = reinterpret_cast<std::uintptr_t>(data + from * axis_.stride);
  if (plan_.task.type != (single_ ? Dtype::kF32 : Dtype::kF64) || axis_.stride != bytes() ||
      address % static_cast<std::uintptr_t>(bytes()) != 0) {
    return 0;
  }
  std::int64_t end = axis_.length - from;
  // What follows the row may be read too, if it is some other row of the data.
  const char* row = data + from * axis_.stride;
  if (end_ != nullptr && to - from <= end) end = std::max(end, (end_ - row) / bytes());
  end -= slack();
  if (to - from <= end) return cuts_.blocks();
  std::size_t block = 0;
  while (block < cuts_.begins.size() && cuts_.begins[block] + cuts_.lengths[block] <= end) ++block;
  return static_cast<std::int64_t>(block);
}

// The values at padded positions [from, to) of the rows, and what may be read after them.
const void* SeriesSums::copy_rows(const char* data, std::int64_t rows, std::int64_t apart,
                                  std::int64_t from, std::int64_t to) {
  const std::int64_t row_bytes = (to - from) * bytes();
  const std::int64_t wanted = rows * row_bytes + slack() * bytes();
  if (row_.size() < wanted) row_ = HugeBuffer(wanted);
  char* out = row_.as<char>();
  for (std::int64_t r = 0; r < rows; ++r, out += row_bytes) fill(data + r * apart, from, to, out);
  std::fill_n(out, slack() * bytes(), char{0});
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
BlockSums SeriesSums::place_sums(std::int64_t rows) {
  constexpr std::int64_t kLine = 8;  // doubles: each array begins on a line
  const std::int64_t blocks = rows * cuts_.blocks();
  const std::int64_t apart = (blocks + kLaneSlack + kLine - 1) / kLine * kLine;
  const std::int64_t arrays = kBlockMoments + kBlockLagSums * plan_.lag_count();
  if (block_room_.size() < 8 * apart * arrays) block_room_ = HugeBuffer(8 * apart * arrays);
  double* next = block_room_.as<double>();
  const auto take = [&](std::int64_t count) {
    double* taken = next;
    next += count * apart;
    return taken;
  };
  BlockSums sums = {};
  sums.apart = apart;
  sums.count = counts_.data();
  for (double** moment : {&sums.pivot, &sums.residual, &sums.squares, &sums.least, &sums.greatest,
                          &sums.steps, &sums.step_out}) {
    *moment = take(1);
  }
  for (double** of_lags : {&sums.products, &sums.all_products, &sums.ends, &sums.turns}) {
    *of_lags = take(plan_.lag_count());
  }
  return sums;
}

}  // namespace tokfrag
