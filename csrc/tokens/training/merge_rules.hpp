// A table of merges applied to one word at a time, plainly or with BPE-dropout.
//
// The encoder proper is faster; this is the form that takes any list of merges, whatever its ids,
// and that can pass merges over at random (arXiv 1910.13267).
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/byte_pair/random_merge.hpp"
#include "tokens/training/trainer.hpp"

namespace tokfrag {

class MergeRules {
 public:
  // In order of rank; of a pair listed twice the last counts.
  explicit MergeRules(const std::vector<Merge>& merges);

  // Merges `symbols` in place, as RandomMerger says.
  void apply(std::vector<std::uint32_t>& symbols, double dropout, SplitMix& random) const;
  void apply(std::vector<std::uint32_t>& symbols) const {
    SplitMix unused(0, 0);
    apply(symbols, 0.0, unused);
  }

 private:
  struct Rule {
    std::uint32_t left;
    std::uint32_t right;
    std::uint32_t rank;
    std::uint32_t id;
  };
  std::uint64_t slot_of(std::uint32_t left, std::uint32_t right) const;
  const Rule* find(std::uint32_t left, std::uint32_t right) const;

  std::vector<Rule> slots_;  // rank kNoRank: empty
};

}  // namespace tokfrag
