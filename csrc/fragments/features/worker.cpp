#include "fragments/features/worker.hpp"

#include "core/half.hpp"
#include "core/interrupt.hpp"
#include "fragments/features/results.hpp"

namespace tokfrag {

namespace {

std::int64_t bytes_of(Dtype type) { return type == Dtype::kF64 ? 8 : type == Dtype::kF32 ? 4 : 2; }

void write(Dtype type, double value, void* out) {
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

}  // namespace

FeatureWorker::FeatureWorker(const FeaturePlan& plan)
    : plan_(plan),
      task_(plan.task),
      direct_(plan),
      series_(plan, plan.task.rank - 1),
      levels_(plan, series_) {}

void FeatureWorker::run(std::int64_t batch, std::int64_t channel, std::int64_t first,
                        std::int64_t last) {
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
  } else if (plan_.in_blocks) {
    finish(first, series_.run(data_, first, last), last - first);
  } else {
    finish(first * inner, levels_.run(data_, first, last), (last - first) * inner);
  }
}

// From the sums of `count` windows, slot by slot, to their features.
void FeatureWorker::finish(std::int64_t first, const double* sums, std::int64_t count) {
  ResultTask task = {};
  task.sums = sums;
  task.slots = plan_.slots;
  task.count = count;
  task.values = static_cast<double>(plan_.window_values);
  task.neighbours = static_cast<double>(plan_.pairs(1));
  task.lag_pairs = plan_.lags.empty() ? nullptr : plan_.lag_pairs.data();
  task.central = plan_.in_blocks;
  task.shift = plan_.in_blocks ? 0 : levels_.shift();
  task.columns = plan_.columns.data();
  task.column_count = task_.column_count;
  task.out = place(first);
  task.out_step = task_.channels * task_.column_count;
  if (result_kernels().write[static_cast<int>(task_.out_type)](task)) redo_poor(first, sums, count);
}

// Windows whose sums are mostly rounding.
void FeatureWorker::redo_poor(std::int64_t first, const double* sums, std::int64_t count) {
  const auto values = static_cast<double>(plan_.window_values);
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
void* FeatureWorker::place(std::int64_t window) const {
  const std::int64_t row = (batch_ * plan_.windows + window) * task_.channels + channel_;
  return static_cast<char*>(task_.out) + row * task_.column_count * bytes_of(task_.out_type);
}

void FeatureWorker::write_direct(std::int64_t window) {
  const double* columns = direct_.columns(data_, window);
  char* out = static_cast<char*>(place(window));
  for (std::int64_t k = 0; k < task_.column_count; ++k) {
    write(task_.out_type, columns[k], out + k * bytes_of(task_.out_type));
  }
}

}  // namespace tokfrag
