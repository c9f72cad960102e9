// Sums of windows over several axes: rows are summed once, and added to the windows that hold them,
// axis after axis.
#pragma once

#include <cstdint>
#include <vector>

#include "core/huge_buffer.hpp"
#include "fragments/features/direct.hpp"
#include "fragments/features/plan.hpp"
#include "fragments/features/rows.hpp"
#include "fragments/features/series.hpp"

namespace tokfrag {

// The buffers of one thread.
class LevelSums {
 public:
  // `series` sums the windows along rows that blocks can be cut from.
  LevelSums(const FeaturePlan& plan, SeriesSums& series);

  // Windows [first, last) of axis 0, and all of the others, of the values at `data`: (slots,
  // windows), then kResultSlack. Sums are of values less `shift()`.
  const double* run(const char* data, std::int64_t first, std::int64_t last);
  double shift() const { return shift_; }

 private:
  using Offsets = std::vector<std::int64_t>;

  std::int64_t window_begin(int axis) const { return axis == 0 ? first_ : 0; }
  std::int64_t window_end(int axis) const { return axis == 0 ? last_ : task_.axes[axis].count; }
  double typical_value() const;
  const double* level(int axis, const Offsets& offsets);
  void step(int axis, std::int64_t t, const Offsets& offsets, Offsets& further) const;
  void add_row(bool is_time, std::int64_t step_in_window, const double* from, std::int64_t inner,
               double* into, std::int64_t plane) const;
  void load(std::int64_t offset, std::int64_t begin, std::int64_t end, double shift,
            double* out) const;
  std::int64_t rows_from(std::int64_t t, std::int64_t end) const;
  const double* row(const Offsets& offsets);
  const double* row_in_blocks(std::int64_t offset);
  const double* block_sums(std::int64_t offset);
  void prepare_row(std::int64_t begin, std::int64_t count, std::int64_t from, std::int64_t to);
  std::int64_t slack() const { return kRowSlack + (plan_.lags.empty() ? 0 : plan_.lags.back()); }
  void spread_lags(std::int64_t count, double* sums) const;

  const FeaturePlan& plan_;
  const FeatureTask& task_;
  const FeatureKernels& kernels_;
  const RowKernels& rows_;
  SeriesSums& series_;
  const bool in_blocks_;
  std::int64_t rows_to_come_ = 1;  // of the data, this one and those right after it
  // Rows whose windows have been summed: where the first one is, how many, the sums of each.
  std::int64_t summed_from_ = 0;
  std::int64_t summed_rows_ = 0;
  const double* summed_ = nullptr;
  const char* data_ = nullptr;
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
