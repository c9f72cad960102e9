// Values of a window by rank, whatever blocks it is made of: blocks are sorted once for all
// windows, a window merges its own. Where windows are alike, ranks.hpp is faster.
#pragma once

#include <cstdint>
#include <vector>

namespace tokfrag {

class SortedBlocks {
 public:
  // Blocks of the values at y; kept until the next call.
  void sort(const double* y, const std::int64_t* begins, const std::int64_t* lengths,
            std::int64_t count);

  // The values of blocks [first, last) in order, until the next call; null if one of them is a NaN.
  const double* merged(std::int64_t first, std::int64_t last);

 private:
  void merge_runs(double*& values, double*& other);

  std::vector<double> sorted_;
  std::vector<std::int64_t> begins_;  // of the blocks, and the end of the last one
  std::vector<char> unordered_;       // blocks with a NaN
  std::vector<double> values_, other_;
  std::vector<std::int64_t> ends_;  // of runs that are in order
};

// Where a quantile lies: at a rank, or a share of the way to the next one.
struct QuantilePlace {
  QuantilePlace(std::int64_t count, double place)
      : rank(static_cast<std::int64_t>(place * static_cast<double>(count - 1))),
        share(place * static_cast<double>(count - 1) - static_cast<double>(rank)) {}

  std::int64_t next() const { return share == 0 ? rank : rank + 1; }

  std::int64_t rank;
  double share;
};

// Linear between the values of the two ranks.
double quantile_between(double below, double above, double share);

}  // namespace tokfrag
