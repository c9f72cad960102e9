// What the threads of the CUDA segment_merge do, run here one after the other.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "check.hpp"
#include "device_case.hpp"
#include "fragments/segments/segment_merge_device.hpp"

namespace {

using namespace tokfrag;
using namespace tokfrag_test;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

// Aligned as CUDA's memory is; what lies behind is watched.
template <class T>
std::unique_ptr<T, Free> allocate(std::int64_t numbers) {
  const auto bytes = static_cast<std::size_t>(numbers) * sizeof(T);
  const std::size_t rounded = (bytes + kMaxUnit) / kMaxUnit * kMaxUnit;
  return std::unique_ptr<T, Free>(static_cast<T*>(std::aligned_alloc(kMaxUnit, rounded)));
}

template <class T>
T make_number(double value) {
  return number_of<T>(static_cast<AccumulatorOf<T>>(value));
}

template <class T, int kNumbers, class Index>
void run_threads(const SegmentReduceTask& reduce, const SegmentGatherTask& gather) {
  const auto segments =
      make_row_units<Index>(reduce.batch, reduce.segments, reduce.columns / kNumbers);
  for (std::int64_t slot = 0; slot < segment_slots(reduce.batch * reduce.rows); ++slot) {
    for (std::int64_t unit = 0; unit < reduce.columns / kNumbers; ++unit) {
      share_unit<T, kNumbers>(reduce, slot, unit);
    }
  }
  for (Index i = 0; i < segments.total; ++i) reduce_unit<T, kNumbers, Index>(reduce, segments, i);
  if (gather.rows == 0) return;
  const auto rows = make_row_units<Index>(gather.batch, gather.rows, gather.columns / kNumbers);
  for (Index i = 0; i < rows.total; ++i) gather_unit<T, kNumbers, Index>(gather, rows, i);
}

template <class T>
void check_segments(std::uint32_t seed, double tolerance) {
  using Accumulator = RowAccumulator<T>;
  constexpr int kWide = kMaxUnit / static_cast<int>(sizeof(T));
  Random random(seed);
  int wide_seen = 0;
  for (int round = 0; round < 150; ++round) {
    const std::int64_t batch = random.between(1, 3);
    const std::int64_t rows = random.between(0, random.chance(20) ? 3000 : 30);
    const std::int64_t segments = random.between(1, 6);
    const std::int64_t columns =
        random.chance(50) ? random.between(1, 9) : 8 * random.between(1, 3);
    const std::int64_t row_stride = columns + (random.chance(30) ? 8 : 0);
    const bool weighted = random.chance(50);
    const bool mean = random.chance(50);
    const auto x = allocate<T>(batch * rows * row_stride);
    std::vector<Accumulator> weight;
    std::vector<std::int64_t> index;
    std::vector<std::int64_t> order;
    std::vector<std::int64_t> offsets(1, 0);
    for (std::int64_t i = 0; i < batch * rows * row_stride; ++i) {
      x.get()[i] = make_number<T>(random.number());
    }
    for (std::int64_t i = 0; i < batch * rows; ++i) {
      index.push_back(random.between(0, segments - 1));
      weight.push_back(static_cast<Accumulator>(random.between(0, 8)) / 4);
    }
    for (std::int64_t d = 0; d < batch * segments; ++d) {
      for (std::int64_t i = 0; i < batch * rows; ++i) {
        if (i / rows * segments + index[static_cast<std::size_t>(i)] == d) order.push_back(i);
      }
      offsets.push_back(static_cast<std::int64_t>(order.size()));
    }
    const auto y = allocate<T>(batch * segments * columns);
    const auto back = allocate<T>(batch * rows * columns);
    std::vector<Accumulator> sums(static_cast<std::size_t>(batch * segments));
    std::vector<Accumulator> partial(
        static_cast<std::size_t>(segment_slots(batch * rows) * kShareRuns * columns + 1));
    const Accumulator* weights = weighted ? weight.data() : nullptr;
    const SegmentReduceTask reduce{
        x.get(),     rows * row_stride, row_stride, offsets.data(), order.data(), weights, y.get(),
        sums.data(), partial.data(),    batch,      rows,           segments,     columns, mean};
    const SegmentGatherTask gather{
        y.get(), segments * columns, columns, index.data(), weights, back.get(), batch,
        rows,    segments,           columns};
    const int numbers = row_numbers<T>(x.get(), y.get(), columns, rows * row_stride, row_stride);
    const bool wide = numbers == kWide && columns % kWide == 0;
    wide_seen += wide ? 1 : 0;
    if (wide) {
      run_threads<T, kWide, std::uint32_t>(reduce, gather);
    } else if (random.chance(50)) {
      run_threads<T, 1, std::uint32_t>(reduce, gather);
    } else {
      run_threads<T, 1, std::uint64_t>(reduce, gather);
    }

    for (std::int64_t d = 0; d < batch * segments; ++d) {
      double weight_sum = 0;
      std::vector<double> total(static_cast<std::size_t>(columns));
      double magnitude = 0;
      for (std::int64_t i = 0; i < batch * rows; ++i) {
        if (i / rows * segments + index[static_cast<std::size_t>(i)] != d) continue;
        const double w = weighted ? static_cast<double>(weight[static_cast<std::size_t>(i)]) : 1.0;
        weight_sum += w;
        magnitude += 16 * w;
        for (std::int64_t k = 0; k < columns; ++k) {
          total[static_cast<std::size_t>(k)] +=
              w * static_cast<double>(value_of(x.get()[i * row_stride + k]));
        }
      }
      CHECK(static_cast<double>(sums[static_cast<std::size_t>(d)]) == weight_sum);
      const double divisor = mean ? weight_sum : 1.0;
      for (std::int64_t k = 0; k < columns; ++k) {
        const double expected = divisor == 0 ? 0 : total[static_cast<std::size_t>(k)] / divisor;
        const auto got = static_cast<double>(value_of(y.get()[d * columns + k]));
        const double slack = divisor == 0 ? 0 : tolerance * (1 + magnitude / divisor);
        CHECK(std::abs(got - expected) <= slack);
      }
    }
    for (std::int64_t i = 0; i < batch * rows; ++i) {
      const std::int64_t d = i / rows * segments + index[static_cast<std::size_t>(i)];
      const double w = weighted ? static_cast<double>(weight[static_cast<std::size_t>(i)]) : 1.0;
      for (std::int64_t k = 0; k < columns; ++k) {
        const double expected = w * static_cast<double>(value_of(y.get()[d * columns + k]));
        const auto got = static_cast<double>(value_of(back.get()[i * columns + k]));
        CHECK(std::abs(got - expected) <= tolerance * (1 + std::abs(expected)));
      }
    }
  }
  CHECK(wide_seen > 20);
}

}  // namespace

NATIVE_TEST(device_segments_equal_loops) {
  check_segments<float>(20, 1e-6);
  check_segments<double>(21, 1e-14);
  check_segments<Half>(22, 1e-3);
  check_segments<BFloat16>(23, 1e-2);
}
