// Sums of the windows along one axis, as runs of blocks that they share.
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
  // Of windows along axis number `axis`.
  SeriesSums(const FeaturePlan& plan, int axis);

  // Of windows [first, last) of the row at `data`: (slots, windows), then kResultSlack. Sums
  // are means, squares and products about them.
  const double* run(const char* data, std::int64_t first, std::int64_t last) {
    return run(data, 1, 0, first, last);
  }
  // Of as many rows, `apart` bytes from each other: (rows, slots, windows).
  const double* run(const char* data, std::int64_t rows, std::int64_t apart, std::int64_t first,
                    std::int64_t last);

  // Of how many rows the sums fit into the caches.
  std::int64_t rows_at_once() const;

 private:
  void count_rows(std::int64_t rows);
  void join(std::int64_t row, bool wild, double* sums) const;
  bool sum_row(const char* data, std::int64_t from, std::int64_t to);
  bool sum_rows(const char* data, std::int64_t rows, std::int64_t apart, std::int64_t from,
                std::int64_t to);
  void place_rows(std::int64_t rows, std::int64_t between);
  BlockTask block_task() const;
  std::int64_t blocks_in_place(const char* data, std::int64_t from, std::int64_t to) const;
  const void* copy_rows(const char* data, std::int64_t rows, std::int64_t apart, std::int64_t from,
                        std::int64_t to);
  void fill(const char* data, std::int64_t from, std::int64_t to, void* out) const;
  BlockSums place_sums(std::int64_t rows);
  std::int64_t bytes() const { return single_ ? 4 : 8; }
  std::int64_t slack() const { return kBlockSlack + reach_; }

  const FeaturePlan& plan_;
  const FeatureAxis& axis_;
  const BlockKernels& kernels_;
  const bool single_;  // rows of float
  const std::int64_t reach_;
  const char* const end_;  // of what may be read
  BlockCuts cuts_;
  std::vector<std::int64_t> begins_, lengths_;  // of blocks in a copy, or of several rows
  std::int64_t rows_ = 0;  // of which these are the blocks, with so many values from row to row
  std::int64_t between_ = 0;
  std::vector<double> counts_;  // the blocks' lengths, and kLaneSlack
  std::int64_t counted_rows_ = 0;
  BlockSums blocks_ = {};
  HugeBuffer row_, block_room_, work_;
  std::vector<double> sums_;
};

}  // namespace tokfrag
