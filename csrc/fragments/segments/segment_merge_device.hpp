// segment_merge on a GPU: what one thread does. The rows of a segment come sorted, in source order;
// a thread adds up to 16 bytes of each, in the order and with the roundings of the CPU kernel
// (segment_merge.hpp): no atomics, the same bits.
#pragma once

#include <cstdint>

#include "core/device/divide.hpp"
#include "core/device/numbers.hpp"
#include "core/device/units.hpp"
#include "fragments/segments/runs.hpp"

namespace tokfrag {

// Segments of more rows are shared out: to a thread some runs, whose sums `partial` holds.
constexpr std::int64_t kShareRuns = 4;
constexpr std::int64_t kShareRows = kShareRuns * kSegmentRun;
constexpr std::int64_t kLongSegment = 4 * kShareRows;
// Rows that a thread reads before it adds the first: what 64 registers allow.
template <int kNumbers>
constexpr int kRowsAhead = kNumbers > 4 ? 2 : 4;

template <class T>
using RowAccumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

// `batch` independent problems; rows and segments of all are numbered through. The sources of
// segment d are the rows order[offsets[d]] to order[offsets[d + 1]], ascending. Strides are in
// elements; y and weight_sum are contiguous. `weight` and `weight_sum` may be null.
struct SegmentReduceTask {
  const void* x;
  std::int64_t x_batch_stride;
  std::int64_t x_row_stride;
  const std::int64_t* offsets;  // batch * segments + 1
  const std::int64_t* order;    // batch * rows
  const void* weight;           // (batch, rows), double for double x, else float
  void* y;                      // (batch, segments, columns)
  void* weight_sum;             // (batch, segments)
  void* partial;  // (slots, kShareRuns, columns), in the accumulator; null: nothing is shared out
  std::int64_t batch, rows, segments, columns;
  bool mean;
};

// x[i] = scale[i] * y[index[i]]; a null scale is ones, and y holds zeros beyond its ends.
struct SegmentGatherTask {
  const void* y;
  std::int64_t y_batch_stride;
  std::int64_t y_row_stride;
  const std::int64_t* index;  // (batch, rows), within the batch
  const void* scale;          // (batch, rows)
  void* x;                    // (batch, rows, columns)
  std::int64_t batch, rows, segments, columns;
};

// How the units of the output are numbered: batch, rows (or segments), units of a row.
template <class Index>
struct RowUnits {
  Divisor<Index> units;  // a row
  Divisor<Index> rows;   // a problem of the batch
  Index total;
};

template <class Index>
RowUnits<Index> make_row_units(std::int64_t batch, std::int64_t rows, std::int64_t units) {
  RowUnits<Index> made{};
  set_divisor(made.units, units);
  set_divisor(made.rows, rows);
  made.total = static_cast<Index>(batch * rows * units);
  return made;
}

// Numbers that one access moves: as many as 16 bytes hold, or 1.
template <class T>
int row_numbers(const void* from, const void* to, std::int64_t columns, std::int64_t batch_stride,
                std::int64_t row_stride) {
  constexpr auto kItem = static_cast<std::int64_t>(sizeof(T));
  UnitChooser chooser;
  chooser.divide(from);
  chooser.divide(to);
  chooser.divide(columns * kItem);
  chooser.divide(batch_stride * kItem);
  chooser.divide(row_stride * kItem);
  return chooser.unit() == kMaxUnit ? static_cast<int>(kMaxUnit / kItem) : 1;
}

template <class T, int kNumbers>
TOKFRAG_HOST_DEVICE inline void load_numbers(const void* array, std::int64_t at, T* numbers) {
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(T));
  const auto unit = load_unit<kBytes>(static_cast<const char*>(array) +
                                      at * static_cast<std::int64_t>(sizeof(T)));
  std::memcpy(numbers, &unit, kBytes);
}

template <class T, int kNumbers>
TOKFRAG_HOST_DEVICE inline void store_numbers(void* array, std::int64_t at, const T* numbers) {
  constexpr int kBytes = kNumbers * static_cast<int>(sizeof(T));
  Unit<kBytes> unit;
  std::memcpy(&unit, numbers, kBytes);
  stream_unit<kBytes>(static_cast<char*>(array) + at * static_cast<std::int64_t>(sizeof(T)), unit);
}

// Where the sums of a long segment's shares lie. The sorted rows are seen in chunks of kShareRows:
// in each begins at most one share of the segment that holds its first row, and one other, the
// first of a segment that begins further inside. They have two slots a chunk.
TOKFRAG_HOST_DEVICE inline std::int64_t segment_slots(std::int64_t rows) {
  return (rows + kShareRows - 1) / kShareRows * 2;
}
TOKFRAG_HOST_DEVICE inline std::int64_t slot_of_share(std::int64_t segment_begin,
                                                      std::int64_t share) {
  const std::int64_t chunk = share / kShareRows;
  return 2 * chunk + (share == segment_begin && share % kShareRows != 0 ? 1 : 0);
}

// The segment that holds the sorted row `at`.
TOKFRAG_HOST_DEVICE inline std::int64_t segment_of(const SegmentReduceTask& task, std::int64_t at) {
  std::int64_t low = 0;
  std::int64_t high = task.batch * task.segments;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    if (task.offsets[middle] <= at) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// The sums of sorted rows [at, stop), at most kSegmentRun, from `column` on; their weights are
// added to `divisor`, if there are any.
template <class T, int kNumbers>
TOKFRAG_HOST_DEVICE inline void add_run(const SegmentReduceTask& task, std::int64_t batch,
                                        std::int64_t column, std::int64_t at, std::int64_t stop,
                                        RowAccumulator<T>* run, double& divisor) {
  using Accumulator = RowAccumulator<T>;
  const auto* weight = static_cast<const Accumulator*>(task.weight);
  constexpr int kAhead = kRowsAhead<kNumbers>;
  const std::int64_t base = batch * task.x_batch_stride + column;
  TOKFRAG_UNROLL
  for (int i = 0; i < kNumbers; ++i) run[i] = 0;
  TOKFRAG_NO_UNROLL
  for (; at < stop; at += kAhead) {
    T numbers[kAhead][kNumbers];
    Accumulator weights[kAhead];
    TOKFRAG_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      if (at + k >= stop) continue;
      const std::int64_t row = task.order[at + k];
      const std::int64_t within = row - batch * task.rows;
      weights[k] = weight == nullptr ? Accumulator(1) : weight[row];
      if (static_cast<std::uint64_t>(within) < static_cast<std::uint64_t>(task.rows)) {
        load_numbers<T, kNumbers>(task.x, base + within * task.x_row_stride, numbers[k]);
      } else {  // an index that nobody checked has sent a row to another problem of the batch
        TOKFRAG_UNROLL
        for (int i = 0; i < kNumbers; ++i) numbers[k][i] = T{};
      }
    }
    TOKFRAG_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      if (at + k >= stop) continue;
      if (weight != nullptr) divisor += static_cast<double>(weights[k]);
      TOKFRAG_UNROLL
      for (int i = 0; i < kNumbers; ++i) {
        run[i] += weights[k] * static_cast<Accumulator>(value_of(numbers[k][i]));
      }
    }
  }
}

// The whole thread that makes a share of a long segment: unit `unit` of slot `slot`.
template <class T, int kNumbers>
TOKFRAG_HOST_DEVICE inline void share_unit(const SegmentReduceTask& task, std::int64_t slot,
                                           std::int64_t unit) {
  using Accumulator = RowAccumulator<T>;
  const std::int64_t chunk = slot / 2 * kShareRows;
  const bool inner = slot % 2 != 0;
  const std::int64_t held = task.offsets[task.batch * task.segments];
  if (chunk >= held) return;
  const std::int64_t last = chunk + kShareRows < held ? chunk + kShareRows - 1 : held - 1;
  const std::int64_t segment = segment_of(task, inner ? last : chunk);
  const std::int64_t begin = task.offsets[segment];
  const std::int64_t end = task.offsets[segment + 1];
  if (end - begin <= kLongSegment || (inner && begin <= chunk)) return;
  const std::int64_t share =
      inner ? begin : begin + (chunk - begin + kShareRows - 1) / kShareRows * kShareRows;
  auto* partial =
      static_cast<Accumulator*>(task.partial) + slot * kShareRuns * task.columns + unit * kNumbers;
  double divisor = 0;  // of no use: weights are added up row by row
  for (std::int64_t k = 0; k < kShareRuns; ++k, partial += task.columns) {
    const std::int64_t run = share + k * kSegmentRun;
    if (run >= end) return;
    const std::int64_t stop = end - run < kSegmentRun ? end : run + kSegmentRun;
    Accumulator sums[kNumbers];
    add_run<T, kNumbers>(task, segment / task.segments, unit * kNumbers, run, stop, sums, divisor);
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) partial[i] = sums[i];
  }
}

// Adds up a long segment's runs, in their order, and its weights, row by row.
template <class T, int kNumbers>
TOKFRAG_HOST_DEVICE inline void add_shares(const SegmentReduceTask& task, std::int64_t column,
                                           std::int64_t begin, std::int64_t end, double* total,
                                           double& divisor) {
  using Accumulator = RowAccumulator<T>;
  const auto* partial = static_cast<const Accumulator*>(task.partial) + column;
  for (std::int64_t share = begin; share < end; share += kShareRows) {
    const Accumulator* from = partial + slot_of_share(begin, share) * kShareRuns * task.columns;
    Accumulator sums[kShareRuns][kNumbers];
    TOKFRAG_UNROLL
    for (int k = 0; k < kShareRuns; ++k) {
      if (share + k * kSegmentRun >= end) continue;
      TOKFRAG_UNROLL
      for (int i = 0; i < kNumbers; ++i) sums[k][i] = from[k * task.columns + i];
    }
    TOKFRAG_UNROLL
    for (int k = 0; k < kShareRuns; ++k) {
      if (share + k * kSegmentRun >= end) continue;
      TOKFRAG_UNROLL
      for (int i = 0; i < kNumbers; ++i) total[i] += static_cast<double>(sums[k][i]);
    }
  }
  const auto* weight = static_cast<const Accumulator*>(task.weight);
  if (weight == nullptr) {
    divisor = static_cast<double>(end - begin);
    return;
  }
  for (std::int64_t at = begin; at < end; ++at) {
    divisor += static_cast<double>(weight[task.order[at]]);
  }
}

// The whole thread of a reduction: unit `index` of y.
template <class T, int kNumbers, class Index>
TOKFRAG_HOST_DEVICE inline void reduce_unit(const SegmentReduceTask& task,
                                            const RowUnits<Index>& units, Index index) {
  using Accumulator = RowAccumulator<T>;
  Index rest = index;
  const auto column = static_cast<std::int64_t>(take_digit(rest, units.units)) * kNumbers;
  const auto segment = static_cast<std::int64_t>(rest);
  const auto batch = static_cast<std::int64_t>(units.rows.quotient(rest));
  const std::int64_t begin = task.offsets[segment];
  const std::int64_t end = task.offsets[segment + 1];

  T result[kNumbers];
  double divisor = 0;
  if (end - begin <= kSegmentRun) {
    // One run: its sums are no doubles, and need none to be divided where the divisor is none
    // either, for a quotient of floats that is rounded to double and then to float is the nearest.
    Accumulator run[kNumbers];
    add_run<T, kNumbers>(task, batch, column, begin, end, run, divisor);
    if (task.weight == nullptr) divisor = static_cast<double>(end - begin);
    const auto narrow = static_cast<Accumulator>(divisor);
    const bool exact = static_cast<double>(narrow) == divisor;
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) {
      Accumulator value = run[i];
      if (task.mean && divisor == 0) value = 0;
      if (task.mean && divisor != 0) {
        value = exact ? run[i] / narrow
                      : static_cast<Accumulator>(static_cast<double>(run[i]) / divisor);
      }
      result[i] = number_of<T>(static_cast<AccumulatorOf<T>>(value));
    }
  } else {
    double total[kNumbers];
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) total[i] = 0;
    if (task.partial != nullptr && end - begin > kLongSegment) {
      add_shares<T, kNumbers>(task, column, begin, end, total, divisor);
    } else {
      for (std::int64_t at = begin; at < end; at += kSegmentRun) {
        Accumulator run[kNumbers];
        const std::int64_t stop = end - at < kSegmentRun ? end : at + kSegmentRun;
        add_run<T, kNumbers>(task, batch, column, at, stop, run, divisor);
        TOKFRAG_UNROLL
        for (int i = 0; i < kNumbers; ++i) total[i] += static_cast<double>(run[i]);
      }
      if (task.weight == nullptr) divisor = static_cast<double>(end - begin);
    }
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) {
      const double value = task.mean ? (divisor == 0 ? 0.0 : total[i] / divisor) : total[i];
      result[i] = number_of<T>(static_cast<AccumulatorOf<T>>(value));
    }
  }
  store_numbers<T, kNumbers>(task.y, segment * task.columns + column, result);
  if (column == 0 && task.weight_sum != nullptr) {
    static_cast<Accumulator*>(task.weight_sum)[segment] = static_cast<Accumulator>(divisor);
  }
}

// The whole thread of a gather: unit `index` of x.
template <class T, int kNumbers, class Index>
TOKFRAG_HOST_DEVICE inline void gather_unit(const SegmentGatherTask& task,
                                            const RowUnits<Index>& units, Index index) {
  using Accumulator = RowAccumulator<T>;
  Index rest = index;
  const auto column = static_cast<std::int64_t>(take_digit(rest, units.units)) * kNumbers;
  const auto row = static_cast<std::int64_t>(rest);
  const auto batch = static_cast<std::int64_t>(units.rows.quotient(rest));
  T numbers[kNumbers] = {};
  const std::int64_t from = task.index[row];
  if (from >= 0 && from < task.segments) {  // nobody may have checked
    load_numbers<T, kNumbers>(
        task.y, batch * task.y_batch_stride + from * task.y_row_stride + column, numbers);
  }
  if (task.scale != nullptr) {
    const Accumulator scale = static_cast<const Accumulator*>(task.scale)[row];
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) {
      const Accumulator scaled = scale * static_cast<Accumulator>(value_of(numbers[i]));
      numbers[i] = number_of<T>(static_cast<AccumulatorOf<T>>(scaled));
    }
  }
  store_numbers<T, kNumbers>(task.x, row * task.columns + column, numbers);
}

}  // namespace tokfrag
