#include "core/half.hpp"
#include "fragments/segments/runs.hpp"
#include "fragments/segments/segment_merge.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

constexpr std::int64_t kColumns = 256;  // accumulators: 1 KiB of float, 2 KiB of double

template <class T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};

// y[d][begin, end) for one segment; end - begin <= kColumns.
template <class T>
void reduce_columns(const SegmentRows& rows, std::int64_t segment, std::int64_t begin,
                    std::int64_t end, double divisor) {
  using Acc = typename Accumulator<T>::type;
  const std::int64_t width = end - begin;
  const std::int64_t last = rows.offsets[segment + 1];
  const T* x = static_cast<const T*>(rows.x) + begin;
  const Acc* weight = static_cast<const Acc*>(rows.weight);
  double total[kColumns];
  Acc run[kColumns];
  for (std::int64_t k = 0; k < width; ++k) total[k] = 0;
  for (std::int64_t at = rows.offsets[segment]; at < last;) {
    const std::int64_t stop = last - at < kSegmentRun ? last : at + kSegmentRun;
    for (std::int64_t k = 0; k < width; ++k) run[k] = 0;
    for (; at < stop; ++at) {
      const std::int64_t source = rows.order[at];
      const T* row = x + source * rows.row_stride;
      if (weight == nullptr) {
        for (std::int64_t k = 0; k < width; ++k) run[k] += widen(row[k]);
      } else {
        const Acc w = weight[source];
        for (std::int64_t k = 0; k < width; ++k) run[k] += w * widen(row[k]);
      }
    }
    for (std::int64_t k = 0; k < width; ++k) total[k] += static_cast<double>(run[k]);
  }
  T* y = static_cast<T*>(rows.y) + segment * rows.columns + begin;
  if (rows.mean && divisor == 0) {
    for (std::int64_t k = 0; k < width; ++k) narrow(0.0, y[k]);
  } else if (rows.mean) {
    for (std::int64_t k = 0; k < width; ++k) narrow(total[k] / divisor, y[k]);
  } else {
    for (std::int64_t k = 0; k < width; ++k) narrow(total[k], y[k]);
  }
}

template <class T>
void reduce(const SegmentRows& rows, std::int64_t first, std::int64_t last,
            std::int64_t column_begin, std::int64_t column_end) {
  using Acc = typename Accumulator<T>::type;
  const Acc* weight = static_cast<const Acc*>(rows.weight);
  for (std::int64_t segment = first; segment < last; ++segment) {
    const std::int64_t begin = rows.offsets[segment];
    const std::int64_t end = rows.offsets[segment + 1];
    double divisor = static_cast<double>(end - begin);
    if (weight != nullptr) {
      divisor = 0;
      for (std::int64_t at = begin; at < end; ++at) {
        divisor += static_cast<double>(weight[rows.order[at]]);
      }
    }
    if (rows.weight_sum != nullptr && column_begin == 0) {
      static_cast<Acc*>(rows.weight_sum)[segment] = static_cast<Acc>(divisor);
    }
    for (std::int64_t column = column_begin; column < column_end; column += kColumns) {
      const std::int64_t stop = column_end - column < kColumns ? column_end : column + kColumns;
      reduce_columns<T>(rows, segment, column, stop, divisor);
    }
  }
}

template <class T>
void scale_row(const void* row, double scale, void* out, std::int64_t columns) {
  using Acc = typename Accumulator<T>::type;
  const Acc factor = static_cast<Acc>(scale);
  for (std::int64_t k = 0; k < columns; ++k) {
    narrow(factor * widen(static_cast<const T*>(row)[k]), static_cast<T*>(out)[k]);
  }
}

}  // namespace

extern const SegmentKernels segment_kernel_table;
const SegmentKernels segment_kernel_table = {
    {reduce<Half>, reduce<BFloat16>, reduce<float>, reduce<double>},
    {scale_row<Half>, scale_row<BFloat16>, scale_row<float>, scale_row<double>},
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
