// The features of the windows of one series, by sums that neighbouring windows share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/half.hpp"
#include "core/huge_buffer.hpp"
#include "core/interrupt.hpp"
#include "fragments/features/direct.hpp"
#include "fragments/features/plan.hpp"
#include "fragments/features/results.hpp"
#include "fragments/features/rows.hpp"
#include "fragments/features/series.hpp"

namespace tokfrag {

// The work of one thread: its buffers, and one (batch, channel) at a time.
class FeatureWorker {
 public:
  explicit FeatureWorker(const FeaturePlan& plan)
      : plan_(plan),
        task_(plan.task),
        kernels_(feature_kernels()),
        rows_(row_kernels()),
        direct_(plan),
        sums_(kMaxFeatureAxes) {}

  // Windows [first, last) of axis 0, and all of the others.
  void run(std::int64_t batch, std::int64_t channel, std::int64_t first, std::int64_t last) {
    data_ = static_cast<const char*>(task_.x) + batch * task_.batch_stride +
            channel * task_.channel_stride;
    batch_ = batch;
    channel_ = channel;
    const std::int64_t inner = plan_.windows / task_.axes[0].count;
    if (plan_.dilated) {
      for (std::int64_t w = first * inner; w < last * inner; ++w) {
        write_direct(w);
        poll_interrupt();
      }
      return;
    }
    const std::int64_t even = std::min(last, std::max(first, plan_.even));
    if (even > first) run_series(first, even);
    if (even < last) run_levels(even, last, inner);
  }

 private:
  using Offsets = std::vector<std::int64_t>;

  // Windows that lie evenly along a series.
  void run_series(std::int64_t first, std::int64_t last) {
    const FeatureAxis& axis = task_.axes[0];
    const std::int64_t count = last - first;
    first_ = first;
    last_ = last;
    shift_ = shift();
    SeriesTask task = {};
    task.type = task_.type;
    task.x = data_ + axis.starts[first] * axis.stride;
    task.step = axis.stride;
    task.stride = axis.starts[1];
    task.overlap = axis.size / task.stride;
    task.count = count;
    task.shift = shift_;
    task.lags = plan_.lags.data();
    task.lag_count = plan_.lag_count();
    task.slots = plan_.slots;
    sums_[0].resize(static_cast<std::size_t>(plan_.slots.count * count + kResultSlack));
    task.sums = sums_[0].data();
    const std::int64_t bytes =
        8 * series_workspace(count, task.overlap, task.stride, task.lag_count);
    if (pieces_.size() < bytes) pieces_ = HugeBuffer(bytes);
    task.workspace = pieces_.as<double>();
    series_kernels().sums(task);
    finish(first, task.sums, count);
  }

  void run_levels(std::int64_t first, std::int64_t last, std::int64_t inner) {
    first_ = first;
    last_ = last;
    shift_ = shift();
    Offsets offsets(1, 0);
    if (task_.time_axis != task_.rank - 1) {
      offsets.resize(1 + plan_.lags.size() + 1, 0);  // this row, those the lags lead to, the next
    }
    const double* sums = level(0, offsets);
    finish(first * inner, sums, (last - first) * inner);
  }

  std::int64_t window_begin(int axis) const { return axis == 0 ? first_ : 0; }
  std::int64_t window_end(int axis) const { return axis == 0 ? last_ : task_.axes[axis].count; }

  // Sums alone lose nothing by an offset; squares and products do.
  double shift() { return plan_.slots.squares < 0 ? 0 : typical_value(); }

  // The median of a few values along the diagonal: an outlier must not become the shift. 0 if they
  // lie about it: sums of products of short types are then exact, which kernels make use of.
  double typical_value() {
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
  const double* level(int axis, const Offsets& offsets) {
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
      const double* row_sums = level(axis + 1, further);
      for (std::int64_t w = open; w < end && along.starts[w] <= t; ++w) {
        add_row(axis == task_.time_axis, t - along.starts[w], row_sums, inner,
                sums.data() + (w - begin) * inner, plane);
      }
      if (axis == 0) poll_interrupt();
    }
    return sums.data();
  }

  static void fill_slot(std::vector<double>& sums, int slot, std::int64_t plane, double value) {
    if (slot < 0) return;
    const auto begin = sums.begin() + slot * plane;
    std::fill(begin, begin + plane, value);
  }

  // Where position `t` of an axis lies in the data; on the time axis, for every lag.
  void step(int axis, std::int64_t t, const Offsets& offsets, Offsets& further) const {
    const FeatureAxis& along = task_.axes[axis];
    const std::int64_t padded = along.starts[along.count - 1] + along.size;
    for (std::size_t k = 0; k < offsets.size(); ++k) {
      std::int64_t at = t;
      if (axis == task_.time_axis && k > 0) at += k <= plan_.lags.size() ? plan_.lags[k - 1] : 1;
      // A lag that leaves the last window is not added to any: any row does.
      const std::int64_t source = at < padded ? along.source[at] : -1;
      further[k] =
          offsets[k] == kPadOffset || source < 0 ? kPadOffset : offsets[k] + source * along.stride;
    }
  }

  void add_row(bool is_time, std::int64_t step_in_window, const double* from, std::int64_t inner,
               double* into, std::int64_t plane) {
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
  void load(std::int64_t offset, std::int64_t begin, std::int64_t end, double shift, double* out) {
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
        if (axis.source[p] >= 0) {
          read(data_ + offset + axis.source[p] * axis.stride, axis.stride, 1, shift, &value);
        }
      }
    }
    std::fill_n(out + (end - begin), slack(), 0.0);
  }

  // Sums of the windows along the innermost axis, of the row (and those it is paired with).
  const double* row(const Offsets& offsets) {
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

  // Buffers and tables for a range of windows along the innermost axis; kept for the next row.
  void prepare_row(std::int64_t begin, std::int64_t count, std::int64_t from, std::int64_t to) {
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

  std::int64_t slack() const { return kRowSlack + (plan_.lags.empty() ? 0 : plan_.lags.back()); }

  // From lag after lag within a window to window after window within a lag.
  void spread_lags(std::int64_t count, double* sums) const {
    const std::int64_t width = row_width(plan_.lag_count());
    for (std::int64_t k = 0; k < plan_.lag_count(); ++k) {
      for (std::int64_t w = 0; w < count; ++w) {
        const auto from = static_cast<std::size_t>(w * width + k);
        sums[(plan_.slots.products + k) * count + w] = products_[from];
        sums[(plan_.slots.edges + k) * count + w] = edges_[from];
      }
    }
  }

  // From the sums of `count` windows, slot by slot, to their features.
  void finish(std::int64_t first, const double* sums, std::int64_t count) {
    const auto values = static_cast<double>(plan_.window_values);
    ResultTask task = {};
    task.sums = sums;
    task.slots = plan_.slots;
    task.count = count;
    task.values = values;
    task.neighbours = static_cast<double>(plan_.pairs(1));
    task.lag_pairs = plan_.lag_pairs.data();
    task.shift = shift_;
    task.columns = plan_.columns.data();
    task.column_count = task_.column_count;
    task.out = place(first);
    task.out_step = task_.channels * task_.column_count;
    if (!result_kernels().write[static_cast<int>(task_.out_type)](task)) return;
    const double* total = sums + plan_.slots.sum * count;
    const double* squares = sums + plan_.slots.squares * count;
    for (std::int64_t w = 0; w < count; ++w) {
      const double mean = total[w] / values;
      const double energy = squares[w] / values;
      const bool poor = energy - mean * mean <= kIllConditioned * energy;
      const bool far = energy < kLeastEnergy || energy > kGreatestEnergy;
      if (energy > 0 && (poor || far)) write_direct(first + w);
    }
  }

  // Where a window's row of the result is.
  void* place(std::int64_t window) const {
    const std::int64_t row = (batch_ * plan_.windows + window) * task_.channels + channel_;
    return static_cast<char*>(task_.out) + row * task_.column_count * bytes_of(task_.out_type);
  }

  void write_direct(std::int64_t window) {
    const double* columns = direct_.columns(data_, window);
    char* out = static_cast<char*>(place(window));
    for (std::int64_t k = 0; k < task_.column_count; ++k) {
      write(task_.out_type, columns[k], out + k * bytes_of(task_.out_type));
    }
  }

  static std::int64_t bytes_of(Dtype type) {
    return type == Dtype::kF64 ? 8 : type == Dtype::kF32 ? 4 : 2;
  }

  static void write(Dtype type, double value, void* out) {
    switch (type) {
      case Dtype::kF16:
        return narrow(value, *static_cast<Half*>(out));
      case Dtype::kBF16:
        return narrow(value, *static_cast<BFloat16*>(out));
      case Dtype::kF32:
        return narrow(value, *static_cast<float*>(out));
      default:
        return narrow(value, *static_cast<double*>(out));
    }
  }

  const FeaturePlan& plan_;
  const FeatureTask& task_;
  const FeatureKernels& kernels_;
  const RowKernels& rows_;
  DirectFeatures direct_;
  const char* data_ = nullptr;
  std::int64_t batch_ = 0;
  std::int64_t channel_ = 0;
  std::int64_t first_ = 0;
  std::int64_t last_ = 0;
  double shift_ = 0;
  std::int64_t row_begin_ = -1;
  std::int64_t ring_ = 0;
  HugeBuffer y_, raw_, other_, pieces_;
  std::vector<double> products_, edges_;  // (windows, row_width)
  std::vector<std::int64_t> starts_, piece_begin_, first_piece_;
  std::vector<std::vector<double>> sums_;
};

}  // namespace tokfrag
