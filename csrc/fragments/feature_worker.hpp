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
#include "fragments/feature_plan.hpp"

namespace tokfrag {

struct FeatureMoments {
  double mean = 0;
  double variance = 0;
  double least = 0;
  double greatest = 0;
  double diff_energy = 0;
};

// The work of one thread: its buffers, and one (batch, channel) at a time.
class FeatureWorker {
 public:
  explicit FeatureWorker(const FeaturePlan& plan)
      : plan_(plan), task_(plan.task), kernels_(feature_kernels()), sums_(kMaxFeatureAxes) {
    correlations_.resize(plan.lags.size());
  }

  // Windows [first, last) of axis 0, and all of the others.
  void run(std::int64_t batch, std::int64_t channel, std::int64_t first, std::int64_t last) {
    data_ = static_cast<const char*>(task_.x) + batch * task_.batch_stride +
            channel * task_.channel_stride;
    batch_ = batch;
    channel_ = channel;
    const std::int64_t inner = plan_.windows / task_.axes[0].count;
    if (plan_.dilated) {
      for (std::int64_t w = first * inner; w < last * inner; ++w) {
        write_window(w, direct(w));
        poll_interrupt();
      }
      return;
    }
    first_ = first;
    last_ = last;
    shift_ = typical_value();
    Offsets offsets(1, 0);
    if (task_.time_axis != task_.rank - 1) {
      offsets.resize(1 + plan_.lags.size() + 1, 0);  // this row, those the lags lead to, the next
    }
    const double* sums = level(0, offsets);
    finish(first * inner, sums, (last - first) * inner);
  }

 private:
  static void write(Dtype type, double value, void* out, std::int64_t at) {
    switch (type) {
      case Dtype::kF16:
        return narrow(value, static_cast<Half*>(out)[at]);
      case Dtype::kBF16:
        return narrow(value, static_cast<BFloat16*>(out)[at]);
      case Dtype::kF32:
        return narrow(value, static_cast<float*>(out)[at]);
      default:
        return narrow(value, static_cast<double*>(out)[at]);
    }
  }

  static constexpr double kIllConditioned =
      1e-6;  // variance over energy, below which sums lost too much
  using Offsets = std::vector<std::int64_t>;

  std::int64_t window_begin(int axis) const { return axis == 0 ? first_ : 0; }
  std::int64_t window_end(int axis) const { return axis == 0 ? last_ : task_.axes[axis].count; }

  // The median of a few values along the diagonal: an outlier must not become the shift.
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
    return count > 0 ? values[count / 2] : 0;
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
    sums.assign(static_cast<std::size_t>(slots.count * plane), 0.0);
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
    std::fill(out + (end - begin), out + (end - begin) + kRowSlack, 0.0);
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
    load(offsets[0], from, to, shift_, y_.data());
    const bool extremes = slots.least >= 0 || slots.greatest >= 0;
    if (extremes) load(offsets[0], from, to, 0.0, raw_.data());

    std::vector<double>& sums = sums_[static_cast<std::size_t>(inner)];
    sums.resize(static_cast<std::size_t>(slots.count * count));
    RowTask row_task = {y_.data(),
                        extremes ? raw_.data() : nullptr,
                        starts_.data(),
                        count,
                        axis.size,
                        plan_.lags.data(),
                        along_time ? static_cast<std::int64_t>(plan_.lags.size()) : 0,
                        slots,
                        sums.data(),
                        count,
                        ring_,
                        pieces_.as<double>(),
                        first_piece_.data()};
    if (!along_time) row_task.slots.differences = -1;
    kernels_.row_sums(row_task);
    if (along_time) return sums.data();

    for (std::size_t k = 0; k < plan_.lags.size(); ++k) {
      load(offsets[1 + k], from, to, shift_, other_.data());
      kernels_.pair_sums(y_.data(), other_.data(), starts_.data(), count, axis.size, false,
                         sums.data() + (slots.products + static_cast<std::int64_t>(k)) * count);
    }
    if (slots.differences >= 0) {
      load(offsets.back(), from, to, shift_, other_.data());
      kernels_.pair_sums(y_.data(), other_.data(), starts_.data(), count, axis.size, true,
                         sums.data() + slots.differences * count);
    }
    return sums.data();
  }

  // Buffers and tables for a range of windows along the innermost axis; kept for the next row.
  void prepare_row(std::int64_t begin, std::int64_t count, std::int64_t from, std::int64_t to) {
    if (row_begin_ == begin && static_cast<std::int64_t>(starts_.size()) == count) return;
    const FeatureAxis& axis = task_.axes[task_.rank - 1];
    const auto values = static_cast<std::size_t>(to - from + kRowSlack);
    y_.resize(values);
    raw_.resize(values);
    other_.resize(values);
    starts_.assign(axis.starts + begin, axis.starts + begin + count);
    for (std::int64_t& start : starts_) start -= from;
    first_piece_.resize(starts_.size());
    ring_ = row_ring(starts_.data(), count, axis.size);
    const std::int64_t bytes =
        8 * row_workspace(ring_, static_cast<std::int64_t>(plan_.lags.size()));
    if (pieces_.size() < bytes) pieces_ = HugeBuffer(bytes);
    row_begin_ = begin;
  }

  // From the sums of `count` windows, slot by slot, to their features; column by column, so that
  // the compiler works on several windows at a time.
  void finish(std::int64_t first, const double* sums, std::int64_t count) {
    const SumSlots& slots = plan_.slots;
    const auto values = static_cast<double>(plan_.window_values);
    const auto size = static_cast<std::size_t>(count);
    const double* sum = sums + slots.sum * count;
    columns_.resize(static_cast<std::size_t>(task_.column_count) * size);
    mean_.resize(size);
    variance_.resize(size);
    scale_.resize(size);
    for (std::size_t w = 0; w < size; ++w) mean_[w] = sum[w] / values;
    ill_.clear();
    if (slots.squares >= 0) {
      const double* squares = sums + slots.squares * count;
      for (std::size_t w = 0; w < size; ++w) {
        const double energy = squares[w] / values;
        variance_[w] = energy - mean_[w] * mean_[w];
        scale_[w] = variance_[w] == 0 ? 0.0 : 1.0 / (variance_[w] * values);
        if (energy > 0 && variance_[w] <= kIllConditioned * energy) {
          ill_.push_back(static_cast<std::int64_t>(w));
        }
      }
    }
    for (std::int64_t k = 0; k < task_.column_count; ++k) {
      if (task_.columns[k] != Feature::kLagCorr)
        finish_column(task_.columns[k], sums, count, column(k, count));
    }
    const std::int64_t length = task_.axes[task_.time_axis].size;
    for (std::size_t k = 0; k < plan_.lags.size(); ++k) {
      const auto at = static_cast<std::int64_t>(k);
      const auto pairs = static_cast<double>((length - plan_.lags[k]) * plan_.per_step);
      const double* product = sums + (slots.products + at) * count;
      const double* edge = sums + (slots.edges + at) * count;
      double* out = column(plan_.lag_column[plan_.lag_order[k]], count);
      for (std::size_t w = 0; w < size; ++w) {
        out[w] = (product[w] - mean_[w] * edge[w] + pairs * mean_[w] * mean_[w]) * scale_[w];
      }
    }
    for (std::int64_t w = 0; w < count; ++w) {
      write_row(first + w, columns_.data() + w, count);
    }
    for (const std::int64_t w : ill_) write_window(first + w, direct(first + w));
  }

  double* column(std::int64_t k, std::int64_t count) { return columns_.data() + k * count; }

  void finish_column(Feature feature, const double* sums, std::int64_t count, double* out) const {
    const SumSlots& slots = plan_.slots;
    const std::int64_t pairs = (task_.axes[task_.time_axis].size - 1) * plan_.per_step;
    const double pair_scale = pairs > 0 ? 1.0 / static_cast<double>(pairs) : 0.0;
    const auto slot = [&](int at) { return sums + at * count; };
    switch (feature) {
      case Feature::kMean:
        for (std::int64_t w = 0; w < count; ++w)
          out[w] = shift_ + mean_[static_cast<std::size_t>(w)];
        return;
      case Feature::kStd:
        for (std::int64_t w = 0; w < count; ++w)
          out[w] = std::sqrt(variance_[static_cast<std::size_t>(w)]);
        return;
      case Feature::kMin:
        std::copy_n(slot(slots.least), count, out);
        return;
      case Feature::kMax:
        std::copy_n(slot(slots.greatest), count, out);
        return;
      case Feature::kDiffEnergy:
        for (std::int64_t w = 0; w < count; ++w) out[w] = slot(slots.differences)[w] * pair_scale;
        return;
      case Feature::kLagCorr:
        return;
    }
  }

  double mean_difference(double sum) const {
    const std::int64_t pairs = (task_.axes[task_.time_axis].size - 1) * plan_.per_step;
    return pairs > 0 ? sum / static_cast<double>(pairs) : 0;
  }

  // The definition, on the values of one window; fills correlations_ too.
  FeatureMoments direct(std::int64_t window) {
    gather_window(window);
    const std::int64_t count = plan_.window_values;
    const auto values = static_cast<double>(count);
    const FeatureAxis& time = task_.axes[task_.time_axis];
    std::int64_t step = 1;
    for (int a = task_.time_axis + 1; a < task_.rank; ++a) step *= task_.axes[a].size;
    const std::int64_t block = step * time.size;

    FeatureMoments moments;
    moments.least = moments.greatest = window_[0];
    double sum = 0;
    for (const double value : window_) {
      sum += value - window_[0];
      if (value < moments.least || std::isnan(value)) moments.least = value;
      if (value > moments.greatest || std::isnan(value)) moments.greatest = value;
    }
    moments.mean = window_[0] + sum / values;
    for (double& value : window_) value -= moments.mean;
    double squares = 0;
    for (const double value : window_) squares += value * value;
    const bool constant = moments.least == moments.greatest;
    moments.variance = constant ? 0.0 : squares / values;
    const auto pair_sum = [&](std::int64_t lag, const auto& term) {
      double total = 0;
      for (std::int64_t begin = 0; begin < count; begin += block) {
        for (std::int64_t k = begin; k < begin + block - lag * step; ++k) {
          total += term(window_[static_cast<std::size_t>(k)],
                        window_[static_cast<std::size_t>(k + lag * step)]);
        }
      }
      return total;
    };
    moments.diff_energy =
        mean_difference(pair_sum(1, [](double a, double b) { return (b - a) * (b - a); }));
    for (std::size_t k = 0; k < plan_.lags.size(); ++k) {
      const double product = pair_sum(plan_.lags[k], [](double a, double b) { return a * b; });
      correlations_[k] = constant ? 0.0 : product / squares;
    }
    return moments;
  }

  void gather_window(std::int64_t window) {
    std::int64_t origin[kMaxFeatureAxes];
    std::int64_t tap[kMaxFeatureAxes] = {};
    for (int a = task_.rank - 1; a >= 0; --a) {
      origin[a] = task_.axes[a].starts[window % task_.axes[a].count];
      window /= task_.axes[a].count;
    }
    window_.resize(static_cast<std::size_t>(plan_.window_values));
    const auto read = kernels_.load[static_cast<int>(task_.type)];
    for (double& value : window_) {
      std::int64_t offset = 0;
      for (int a = 0; a < task_.rank && offset != kPadOffset; ++a) {
        const FeatureAxis& axis = task_.axes[a];
        const std::int64_t source = axis.source[origin[a] + tap[a] * axis.dilation];
        offset = source < 0 ? kPadOffset : offset + source * axis.stride;
      }
      value = task_.pad_value;
      if (offset != kPadOffset) read(data_ + offset, 0, 1, 0.0, &value);
      for (int a = task_.rank - 1; a >= 0 && ++tap[a] == task_.axes[a].size; --a) tap[a] = 0;
    }
  }

  std::int64_t row_of(std::int64_t window) const {
    return ((batch_ * plan_.windows + window) * task_.channels + channel_) * task_.column_count;
  }

  // The columns of one window, `step` values apart.
  void write_row(std::int64_t window, const double* values, std::int64_t step) {
    const std::int64_t at = row_of(window);
    if (task_.out_type == Dtype::kF32) {
      float* out = static_cast<float*>(task_.out) + at;
      for (std::int64_t k = 0; k < task_.column_count; ++k) {
        out[k] = static_cast<float>(values[k * step]);
      }
    } else {
      for (std::int64_t k = 0; k < task_.column_count; ++k) {
        write(task_.out_type, values[k * step], task_.out, at + k);
      }
    }
  }

  void write_window(std::int64_t window, const FeatureMoments& moments) {
    const std::int64_t at = row_of(window);
    for (std::int64_t k = 0; k < task_.column_count; ++k) {
      double value = 0;
      switch (task_.columns[k]) {
        case Feature::kMean:
          value = moments.mean;
          break;
        case Feature::kStd:
          value = std::sqrt(moments.variance);
          break;
        case Feature::kMin:
          value = moments.least;
          break;
        case Feature::kMax:
          value = moments.greatest;
          break;
        case Feature::kDiffEnergy:
          value = moments.diff_energy;
          break;
        case Feature::kLagCorr:
          continue;
      }
      write(task_.out_type, value, task_.out, at + k);
    }
    for (std::size_t k = 0; k < plan_.lags.size(); ++k) {
      const std::int64_t column = plan_.lag_column[plan_.lag_order[k]];
      write(task_.out_type, correlations_[k], task_.out, at + column);
    }
  }

  // Offsets may be negative (negative strides), so a row of padding has one that none can have.
  static constexpr std::int64_t kPadOffset = std::numeric_limits<std::int64_t>::min();

  const FeaturePlan& plan_;
  const FeatureTask& task_;
  const FeatureKernels& kernels_;
  const char* data_ = nullptr;
  std::int64_t batch_ = 0;
  std::int64_t channel_ = 0;
  std::int64_t first_ = 0;
  std::int64_t last_ = 0;
  double shift_ = 0;
  std::int64_t row_begin_ = -1;
  std::int64_t ring_ = 0;
  HugeBuffer pieces_;
  std::vector<double> y_, raw_, other_, window_, correlations_;
  std::vector<double> mean_, variance_, scale_, columns_;
  std::vector<std::int64_t> starts_, first_piece_, ill_;
  std::vector<std::vector<double>> sums_;
};

}  // namespace tokfrag
