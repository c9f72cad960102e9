#include "fragments/features/levels.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/interrupt.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kRowsBetweenPolls = 16;

void fill_slot(std::vector<double>& sums, int slot, std::int64_t plane, double value) {
  if (slot < 0) return;
  const auto begin = sums.begin() + slot * plane;
  std::fill(begin, begin + plane, value);
}

}  // namespace

LevelSums::LevelSums(const FeaturePlan& plan, SeriesSums& series)
    : plan_(plan),
      task_(plan.task),
      kernels_(feature_kernels()),
      rows_(row_kernels()),
      series_(series),
      in_blocks_(plan.lags.empty() &&
                 (plan.slots.differences < 0 || plan.task.time_axis == plan.task.rank - 1)),
      sums_(kMaxFeatureAxes) {}

const double* LevelSums::run(const char* data, std::int64_t first, std::int64_t last) {
  data_ = data;
  summed_rows_ = 0;
  first_ = first;
  last_ = last;
  // Sums alone lose nothing by an offset; squares and products do.
  shift_ = plan_.slots.squares < 0 ? 0 : typical_value();
  Offsets offsets(1, 0);
  if (task_.time_axis != task_.rank - 1) {
    offsets.resize(1 + plan_.lags.size() + 1, 0);  // this row, those the lags lead to, the next
  }
  return level(0, offsets);
}

// The median of a few values along the diagonal: an outlier must not become the shift. 0 if they
// lie about it.
double LevelSums::typical_value() const {
  double values[9];
  int count = 0;
  for (std::int64_t k = 0; k < 9; ++k) {
    std::int64_t offset = 0;
    for (int a = 0; a < task_.rank; ++a) {
      const FeatureAxis& axis = task_.axes[a];
      const bool chunked = task_.rank == 1;
      const std::int64_t begin = chunked ? axis.starts[first_] : 0;
      const std::int64_t end =
          std::min(axis.length, chunked ? axis.starts[last_ - 1] + axis.size : axis.length);
      offset += (begin + (end - 1 - begin) * k / 8) * axis.stride;
    }
    double value = 0;
    kernels_.load[static_cast<int>(task_.type)](data_ + offset, 0, 1, 0.0, &value);
    if (!std::isfinite(value)) continue;
    int at = count++;
    for (; at > 0 && values[at - 1] > value; --at) values[at] = values[at - 1];
    values[at] = value;
  }
  if (count == 0) return 0;
  const double median = values[count / 2];
  return std::abs(median) <= values[3 * count / 4] - values[count / 4] ? 0 : median;
}

// Sums of the windows on axes `axis` and further in: (slots, windows).
const double* LevelSums::level(int axis, const Offsets& offsets) {
  if (axis >= std::min(task_.rank, kMaxFeatureAxes) - 1) return row(offsets);
  const FeatureAxis& along = task_.axes[axis];
  const std::int64_t begin = window_begin(axis);
  const std::int64_t end = window_end(axis);
  std::int64_t inner = 1;
  for (int a = axis + 1; a < task_.rank; ++a) inner *= task_.axes[a].count;
  const std::int64_t plane = (end - begin) * inner;
  const SumSlots& slots = plan_.slots;
  std::vector<double>& sums = sums_[static_cast<std::size_t>(axis)];
  sums.assign(static_cast<std::size_t>(slots.count * plane + kResultSlack), 0.0);
  fill_slot(sums, slots.least, plane, std::numeric_limits<double>::infinity());
  fill_slot(sums, slots.greatest, plane, -std::numeric_limits<double>::infinity());
  Offsets further(offsets.size());
  std::int64_t open = begin;
  for (std::int64_t t = along.starts[begin]; t < along.starts[end - 1] + along.size; ++t) {
    while (open < end && along.starts[open] + along.size <= t) ++open;
    if (open < end && along.starts[open] > t) {  // a gap between windows
      t = along.starts[open] - 1;
      continue;
    }
    step(axis, t, offsets, further);
    if (axis == task_.rank - 2) rows_to_come_ = rows_from(t, end);
    const double* row_sums = level(axis + 1, further);
    for (std::int64_t w = open; w < end && along.starts[w] <= t; ++w) {
      add_row(axis == task_.time_axis, t - along.starts[w], row_sums, inner,
              sums.data() + (w - begin) * inner, plane);
    }
    if (axis == 0 && (task_.rank > 2 || t % kRowsBetweenPolls == 0)) poll_interrupt();
  }
  return sums.data();
}

// How many rows follow one another in the data from position `t` of the last axis but one on, this
// one counted: as far as the windows before number `end` reach, if they leave no gaps.
std::int64_t LevelSums::rows_from(std::int64_t t, std::int64_t end) const {
  const FeatureAxis& along = task_.axes[task_.rank - 2];
  const bool gaps = along.count > 1 && along.starts[1] - along.starts[0] > along.size;
  if (gaps || along.stride <= 0 || t >= along.length) return 1;
  return std::min(along.length, along.starts[end - 1] + along.size) - t;
}

// Where position `t` of an axis lies in the data; on the time axis, for every lag.
void LevelSums::step(int axis, std::int64_t t, const Offsets& offsets, Offsets& further) const {
  const FeatureAxis& along = task_.axes[axis];
  const std::int64_t padded = along.starts[along.count - 1] + along.size;
  for (std::size_t k = 0; k < offsets.size(); ++k) {
    std::int64_t at = t;
    if (axis == task_.time_axis && k > 0) at += k <= plan_.lags.size() ? plan_.lags[k - 1] : 1;
    // A lag that leaves the last window is not added to any: any row does.
    const std::int64_t source =
        at < padded ? source_position(along.length, task_.pad_mode, at) : kNoSource;
    further[k] =
        offsets[k] == kPadOffset || source < 0 ? kPadOffset : offsets[k] + source * along.stride;
  }
}

void LevelSums::add_row(bool is_time, std::int64_t step_in_window, const double* from,
                        std::int64_t inner, double* into, std::int64_t plane) const {
  const SumSlots& slots = plan_.slots;
  const std::int64_t size = task_.axes[task_.time_axis].size;
  kernels_.add(into + slots.sum * plane, from + slots.sum * inner, inner);
  if (slots.squares >= 0) {
    kernels_.add(into + slots.squares * plane, from + slots.squares * inner, inner);
  }
  if (slots.least >= 0) {
    kernels_.keep_least(into + slots.least * plane, from + slots.least * inner, inner);
  }
  if (slots.greatest >= 0) {
    kernels_.keep_greatest(into + slots.greatest * plane, from + slots.greatest * inner, inner);
  }
  if (slots.differences >= 0 && (!is_time || step_in_window + 1 < size)) {
    kernels_.add(into + slots.differences * plane, from + slots.differences * inner, inner);
  }
  for (std::size_t k = 0; k < plan_.lags.size(); ++k) {
    const std::int64_t products = slots.products + static_cast<std::int64_t>(k);
    const std::int64_t edges = slots.edges + static_cast<std::int64_t>(k);
    const std::int64_t lag = plan_.lags[k];
    if (!is_time || step_in_window + lag < size) {
      kernels_.add(into + products * plane, from + products * inner, inner);
    }
    if (!is_time) {
      kernels_.add(into + edges * plane, from + edges * inner, inner);
    } else {
      const int times = (step_in_window + lag < size ? 1 : 0) + (step_in_window >= lag ? 1 : 0);
      if (times > 0) {
        kernels_.add_scaled(into + edges * plane, from + slots.sum * inner, times, inner);
      }
    }
  }
}

// Fills out[0, end - begin) with the values of a row at padded positions [begin, end).
void LevelSums::load(std::int64_t offset, std::int64_t begin, std::int64_t end, double shift,
                     double* out) const {
  const FeatureAxis& axis = task_.axes[task_.rank - 1];
  if (offset == kPadOffset) {
    std::fill(out, out + (end - begin), task_.pad_value - shift);
  } else {
    const auto read = kernels_.load[static_cast<int>(task_.type)];
    const std::int64_t inside = std::min(end, axis.length);
    if (inside > begin)
      read(data_ + offset + begin * axis.stride, axis.stride, inside - begin, shift, out);
    for (std::int64_t p = std::max(inside, begin); p < end; ++p) {
      double& value = out[p - begin];
      value = task_.pad_value - shift;
      const std::int64_t source = source_position(axis.length, task_.pad_mode, p);
      if (source >= 0) read(data_ + offset + source * axis.stride, axis.stride, 1, shift, &value);
    }
  }
  std::fill_n(out + (end - begin), slack(), 0.0);
}

// Sums of the windows along the innermost axis, of the row (and those it is paired with).
const double* LevelSums::row(const Offsets& offsets) {
  if (in_blocks_ && offsets[0] != kPadOffset) return row_in_blocks(offsets[0]);
  const int inner = task_.rank - 1;
  const FeatureAxis& axis = task_.axes[inner];
  const std::int64_t begin = window_begin(inner);
  const std::int64_t count = window_end(inner) - begin;
  const std::int64_t from = axis.starts[begin];
  const std::int64_t to = axis.starts[begin + count - 1] + axis.size;
  const bool along_time = inner == task_.time_axis;
  const SumSlots& slots = plan_.slots;
  prepare_row(begin, count, from, to);
  double* y = y_.as<double>() + kRowSlack;
  double* raw = raw_.as<double>() + kRowSlack;
  load(offsets[0], from, to, shift_, y);
  const bool extremes = slots.least >= 0 || slots.greatest >= 0;
  if (extremes) load(offsets[0], from, to, 0.0, raw);

  std::vector<double>& sums = sums_[static_cast<std::size_t>(inner)];
  sums.resize(static_cast<std::size_t>(slots.count * count + kResultSlack));
  const auto slot = [&](int k) { return k < 0 ? nullptr : sums.data() + k * count; };
  RowTask row_task = {};
  row_task.y = y;
  row_task.raw = raw;
  row_task.starts = starts_.data();
  row_task.count = count;
  row_task.size = axis.size;
  row_task.lags = plan_.lags.data();
  row_task.lag_count = along_time ? plan_.lag_count() : 0;
  row_task.total = slot(slots.sum);
  row_task.squares = slot(slots.squares);
  row_task.difference_sums = along_time ? slot(slots.differences) : nullptr;
  row_task.least = slot(slots.least);
  row_task.greatest = slot(slots.greatest);
  row_task.products = products_.data();
  row_task.edges = edges_.data();
  row_task.ring = ring_;
  row_task.pieces = pieces_.as<double>();
  row_task.piece_begin = piece_begin_.data();
  row_task.first_piece = first_piece_.data();
  rows_.row_sums(row_task);
  if (along_time) {
    spread_lags(count, sums.data());
    return sums.data();
  }

  double* other = other_.as<double>() + kRowSlack;
  for (std::size_t k = 0; k < plan_.lags.size(); ++k) {
    load(offsets[1 + k], from, to, shift_, other);
    rows_.pair_sums(y, other, starts_.data(), count, axis.size, false,
                    slot(slots.products + static_cast<int>(k)));
  }
  if (slots.differences >= 0) {
    load(offsets.back(), from, to, shift_, other);
    rows_.pair_sums(y, other, starts_.data(), count, axis.size, true, slot(slots.differences));
  }
  return sums.data();
}

// The sums of a row's windows by blocks; those of the rows after it are made at once.
const double* LevelSums::block_sums(std::int64_t offset) {
  const int inner = task_.rank - 1;
  const std::int64_t begin = window_begin(inner);
  const std::int64_t count = window_end(inner) - begin;
  const std::int64_t apart = task_.rank > 1 ? task_.axes[inner - 1].stride : 0;
  std::int64_t row = summed_rows_;
  if (summed_rows_ > 1 && (offset - summed_from_) % apart == 0)
    row = (offset - summed_from_) / apart;
  if (summed_rows_ == 1 && offset == summed_from_) row = 0;
  if (row < 0 || row >= summed_rows_) {
    row = 0;
    summed_from_ = offset;
    summed_rows_ = std::min(rows_to_come_, series_.rows_at_once());
    summed_ = series_.run(data_ + offset, summed_rows_, apart, begin, begin + count);
  }
  return summed_ + row * plan_.slots.count * count;
}

// The same by blocks, whose sums are about the windows' means.
const double* LevelSums::row_in_blocks(std::int64_t offset) {
  const int inner = task_.rank - 1;
  const std::int64_t count = window_end(inner) - window_begin(inner);
  const double* found = block_sums(offset);
  const SumSlots& slots = plan_.slots;
  std::vector<double>& sums = sums_[static_cast<std::size_t>(inner)];
  sums.resize(static_cast<std::size_t>(slots.count * count + kResultSlack));
  std::copy_n(found, slots.count * count, sums.begin());
  const auto size = static_cast<double>(task_.axes[inner].size);
  double* total = sums.data() + slots.sum * count;
  double* squares = slots.squares < 0 ? nullptr : sums.data() + slots.squares * count;
  for (std::int64_t w = 0; w < count; ++w) {
    const double apart = total[w] - shift_;
    total[w] = size * apart;
    if (squares != nullptr) squares[w] += size * apart * apart;
  }
  return sums.data();
}

// Buffers and tables for a range of windows along the innermost axis; kept for the next row.
void LevelSums::prepare_row(std::int64_t begin, std::int64_t count, std::int64_t from,
                            std::int64_t to) {
  if (row_begin_ == begin && static_cast<std::int64_t>(starts_.size()) == count) return;
  const FeatureAxis& axis = task_.axes[task_.rank - 1];
  const std::int64_t bytes = 8 * (kRowSlack + to - from + slack());
  for (HugeBuffer* buffer : {&y_, &raw_, &other_}) {
    if (buffer->size() < bytes) *buffer = HugeBuffer(bytes);
    std::fill_n(buffer->as<double>(), kRowSlack, 0.0);
  }
  starts_.assign(axis.starts + begin, axis.starts + begin + count);
  for (std::int64_t& start : starts_) start -= from;
  first_piece_.resize(starts_.size());
  ring_ = row_ring(starts_.data(), count, axis.size);
  piece_begin_.resize(static_cast<std::size_t>(ring_));
  const std::int64_t workspace = 8 * row_workspace(ring_, plan_.lags.data(), plan_.lag_count());
  if (pieces_.size() < workspace) pieces_ = HugeBuffer(workspace);
  const auto lag_sums = static_cast<std::size_t>(count * row_width(plan_.lag_count()));
  products_.resize(lag_sums);
  edges_.resize(lag_sums);
  row_begin_ = begin;
}

// From lag after lag within a window to window after window within a lag.
void LevelSums::spread_lags(std::int64_t count, double* sums) const {
  const std::int64_t width = row_width(plan_.lag_count());
  for (std::int64_t k = 0; k < plan_.lag_count(); ++k) {
    for (std::int64_t w = 0; w < count; ++w) {
      const auto from = static_cast<std::size_t>(w * width + k);
      sums[(plan_.slots.products + k) * count + w] = products_[from];
      sums[(plan_.slots.edges + k) * count + w] = edges_[from];
    }
  }
}

}  // namespace tokfrag
