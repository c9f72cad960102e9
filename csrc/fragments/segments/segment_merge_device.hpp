// segment_merge on a GPU: what one thread does. The rows of a segment come sorted, in source order;
// a thread adds up to 16 bytes of each, in the order and with the roundings of the CPU kernel
// (segment_merge.hpp): no atomics, the same bits.
#pragma once

#include <cstdint>

#include "core/device/divide.hpp"
#include "core/device/numbers.hpp"
#include "core/device/units.hpp"

namespace tokfrag {

constexpr std::int64_t kSegmentRun =
    64;  // rows added up in the accumulator before double takes over

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
  std::int64_t batch, rows, segments, columns;
  bool mean;
};

// x[i] = scale[i] * y[index[i]]; a null scale is ones.
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

// The whole thread of a reduction: unit `index` of y.
template <class T, int kNumbers, class Index>
TOKFRAG_HOST_DEVICE inline void reduce_unit(const SegmentReduceTask& task,
                                            const RowUnits<Index>& units, Index index) {
  using Accumulator = RowAccumulator<T>;
  Index rest = index;
  const auto column = static_cast<std::int64_t>(take_digit(rest, units.units)) * kNumbers;
  const auto segment = static_cast<std::int64_t>(rest);
  const auto batch = static_cast<std::int64_t>(units.rows.quotient(rest));
  const std::int64_t base = batch * task.x_batch_stride + column;
  const auto* weight = static_cast<const Accumulator*>(task.weight);
  const std::int64_t begin = task.offsets[segment];
  const std::int64_t end = task.offsets[segment + 1];

  double total[kNumbers];
  TOKFRAG_UNROLL
  for (int i = 0; i < kNumbers; ++i) total[i] = 0;
  double divisor = 0;
  for (std::int64_t at = begin; at < end;) {
    const std::int64_t stop = end - at < kSegmentRun ? end : at + kSegmentRun;
    Accumulator run[kNumbers];
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) run[i] = 0;
    for (; at < stop; ++at) {
      const std::int64_t row = task.order[at];
      T numbers[kNumbers];
      load_numbers<T, kNumbers>(task.x, base + (row - batch * task.rows) * task.x_row_stride,
                                numbers);
      const Accumulator w = weight == nullptr ? Accumulator(1) : weight[row];
      divisor += static_cast<double>(w);
      TOKFRAG_UNROLL
      for (int i = 0; i < kNumbers; ++i) {
        run[i] += w * static_cast<Accumulator>(value_of(numbers[i]));
      }
    }
    TOKFRAG_UNROLL
    for (int i = 0; i < kNumbers; ++i) total[i] += static_cast<double>(run[i]);
  }

  T result[kNumbers];
  TOKFRAG_UNROLL
  for (int i = 0; i < kNumbers; ++i) {
    const double value = task.mean ? (divisor == 0 ? 0.0 : total[i] / divisor) : total[i];
    result[i] = number_of<T>(static_cast<AccumulatorOf<T>>(value));
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
  T numbers[kNumbers];
  load_numbers<T, kNumbers>(
      task.y, batch * task.y_batch_stride + task.index[row] * task.y_row_stride + column, numbers);
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
