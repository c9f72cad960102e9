// Sums of the windows of a series, as runs of blocks that they share.
#pragma once

#include <cstdint>
#include <vector>

#include "core/huge_buffer.hpp"
#include "fragments/features/block_cuts.hpp"
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
  bool sum_blocks(const char* data, std::int64_t from, std::int64_t to);
  std::int64_t blocks_in_place(const char* data, std::int64_t from, std::int64_t to) const;
  const void* copy_row(const char* data, std::int64_t from, std::int64_t to);
  void fill(const char* data, std::int64_t from, std::int64_t to, void* out) const;
  BlockSums place_sums();
  std::int64_t slack() const { return kBlockSlack + reach_; }

  const FeaturePlan& plan_;
  const FeatureAxis& axis_;
  const BlockKernels& kernels_;
  const bool single_;  // rows of float
  const std::int64_t reach_;
  BlockCuts cuts_;
  std::vector<std::int64_t> begins_;  // of blocks, in a copy
  std::vector<double> counts_;        // the blocks' lengths, and kLaneSlack
  BlockSums blocks_ = {};
  HugeBuffer row_, block_room_;
  std::vector<double> sums_;
};

}  // namespace tokfrag
