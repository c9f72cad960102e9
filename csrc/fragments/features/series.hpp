// Sums of the windows of a series, as runs of blocks that they share.
#pragma once

#include <cstdint>
#include <vector>

#include "core/huge_buffer.hpp"
#include "fragments/features/blocks.hpp"
#include "fragments/features/plan.hpp"

namespace tokfrag {

// The buffers of one thread.
class SeriesSums {
 public:
  explicit SeriesSums(const FeaturePlan& plan);

  // Of windows [first, last) of the values at `data`: (slots, windows), then kResultSlack. Squares
  // and products are about each window's mean.
  const double* run(const char* data, std::int64_t first, std::int64_t last);

 private:
  bool is_cut_alike(std::int64_t first, std::int64_t last) const;
  void cut(std::int64_t first, std::int64_t last);
  bool cut_shared(const std::int64_t* starts, std::int64_t count);
  void cut_apart(const std::int64_t* starts, std::int64_t count);
  void add_parts(std::int64_t begin, std::int64_t end);
  const void* row(const char* data, std::int64_t from, std::int64_t to);
  void fill(const char* data, std::int64_t from, std::int64_t to, void* out) const;
  BlockSums place_sums();

  const FeaturePlan& plan_;
  const FeatureAxis& axis_;
  const BlockKernels& kernels_;
  const bool single_;  // rows of float
  const std::int64_t reach_;
  // Of the windows that were cut last, relative to the first one's start.
  std::int64_t even_ = 0;
  std::vector<std::int64_t> starts_, begins_, lengths_, first_, last_;
  std::vector<double> counts_;  // lengths_, and kLaneSlack
  HugeBuffer row_, blocks_;
  std::vector<double> sums_;
};

}  // namespace tokfrag
