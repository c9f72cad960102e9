// A table of merges applied to one word at a time, plainly or with BPE-dropout.
//
// The encoder proper is faster; this is the form that takes any list of merges, whatever its ids,
// and that can pass merges over at random (arXiv 1910.13267).
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/trainer.hpp"

namespace tokfrag {

// SplitMix64: one stream of numbers for each (seed, stream) pair.
class SplitMix {
 public:
  SplitMix(std::uint64_t seed, std::uint64_t stream) : state_(seed) { state_ = next() + stream; }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t mixed = (state_ ^ state_ >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
  }
  std::uint64_t state_;
};

class MergeRules {
 public:
  // In order of rank; of a pair listed twice the last counts.
  explicit MergeRules(const std::vector<Merge>& merges);

  // Merges `symbols` in place: again and again the lowest rank, leftmost first, each candidate
  // passed over with probability `dropout` until the next merge. O(n log n) without dropout.
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
