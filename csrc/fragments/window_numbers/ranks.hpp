// Values by rank of windows that are each as many blocks of one length: blocks are sorted side by
// side, a block a lane, by a network of comparisons that is the same for all; runs of blocks are
// merged by one, each run once for all windows; and of the two runs that a window is made of, no
// merge is made: the value of rank r is the least, over all i, of the greater one of value i of the
// first run and value r - 1 - i of the second.
#pragma once

#include <cstdint>

#include "core/isa.hpp"

namespace tokfrag {

constexpr std::int64_t kRankBlocks = 16;   // of a window, at most
constexpr std::int64_t kRankLength = 256;  // of a block, at most
constexpr std::int64_t kRankSlack = 16;    // doubles after each row of results that may be written
constexpr std::int64_t kSortedAtOnce = 8;  // steps that a network in registers puts in order

// The runs that a window of `each` blocks is made of: of 2^first and 2^second blocks; second is -1
// if it is one block. Not all numbers are sums of two such.
struct RankRuns {
  int first;
  int second;
};
inline bool find_runs(std::int64_t each, RankRuns& runs) {
  if (each < 1 || each > kRankBlocks) return false;
  runs = {0, -1};
  while ((std::int64_t{2} << runs.first) <= each) ++runs.first;
  const std::int64_t rest = each - (std::int64_t{1} << runs.first);
  if (rest == 0) {
    if (each > 1) runs = {runs.first - 1, runs.first - 1};
    return true;
  }
  for (int second = 0; second < runs.first; ++second) {
    if (rest == std::int64_t{1} << second) runs.second = second;
  }
  return runs.second >= 0;
}

// Steps of a sorted block: a power of two.
inline std::int64_t sorted_steps(std::int64_t length) {
  std::int64_t steps = kSortedAtOnce;
  while (steps < length) steps *= 2;
  return steps;
}

struct RankTask {
  const double* y;
  const std::int64_t* begins;  // of blocks
  std::int64_t length;         // of each
  std::int64_t blocks;
  std::int64_t each;  // blocks of a window: the first window's from the first one on, and so on
  std::int64_t windows;
  const std::int64_t* ranks;
  std::int64_t rank_count;
  double* room;    // rank_room() doubles, on a line
  double* values;  // (rank_count, windows + kRankSlack); NaN where a window holds one
};

// Doubles from a step's first block to the next step's.
inline std::int64_t rank_apart(std::int64_t blocks) {
  return (blocks + kRankBlocks + kRankSlack) / 8 * 8;
}

// Runs of 1, 2, 4 blocks and so on as far as windows need, two steps' worth of registers for a
// merge, and a row that says which blocks hold a NaN.
inline std::int64_t rank_room(std::int64_t length, std::int64_t blocks, int levels) {
  const std::int64_t steps = sorted_steps(length) << levels;
  return (2 * steps + 1) * rank_apart(blocks) + 8 * 2 * steps;
}

struct RankKernels {
  void (*find)(const RankTask& task);
};

TOKFRAG_ISA_TABLE(RankKernels, rank_kernel_table, rank_kernels)

}  // namespace tokfrag
