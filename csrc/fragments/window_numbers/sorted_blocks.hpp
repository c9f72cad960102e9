// Values of a window by rank: blocks are sorted once for all windows, a window merges its own.
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

// Linear between the two nearest of `count` values in order, at `place` in [0, 1].
double quantile_of(const double* values, std::int64_t count, double place);

}  // namespace tokfrag
