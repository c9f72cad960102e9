// Merging with BPE-dropout (arXiv 1910.13267): merges passed over at random, by a seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/interrupt.hpp"

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

// What two neighbouring symbols merge to, and when; of the lowest rank first.
struct Merging {
  static constexpr std::uint32_t kNever = 0xffffffffu;
  std::uint32_t rank;  // kNever: they do not
  std::uint32_t merged;
};

class RandomMerger {
 public:
  // Merges `symbols` in place: again and again the lowest rank, leftmost first, each candidate
  // passed over with probability `dropout` until the next merge. `find(left, right)` gives a
  // Merging. O(n log n) without dropout, expected 1 / (1 - dropout) times that with it.
  template <class Find>
  void operator()(std::vector<std::uint32_t>& symbols, double dropout, SplitMix& random,
                  const Find& find) {
    const auto n = static_cast<std::uint32_t>(symbols.size());
    next_.resize(n);
    previous_.resize(n);
    queue_.clear();
    passed_.clear();
    const auto look = [&](std::uint32_t at) {
      const std::uint32_t left = symbols[at];
      const std::uint32_t right = symbols[next_[at]];
      const Merging merging = find(left, right);
      if (merging.rank == Merging::kNever) return;
      queue_.push_back({merging.rank, merging.merged, at, left, right});
      std::push_heap(queue_.begin(), queue_.end());
    };
    for (std::uint32_t at = 0; at < n; ++at) {
      next_[at] = at + 1;
      previous_[at] = at - 1;
    }
    for (std::uint32_t at = 0; at + 1 < n; ++at) look(at);
    for (std::uint32_t step = 1; !queue_.empty(); ++step) {
      if (step % kPollEvery == 0) poll_interrupt();
      std::pop_heap(queue_.begin(), queue_.end());
      const Candidate best = queue_.back();
      queue_.pop_back();
      const std::uint32_t second = next_[best.at];
      if (symbols[best.at] != best.left || second >= n || symbols[second] != best.right) continue;
      if (dropout > 0 && random.uniform() < dropout) {
        passed_.push_back(best);
        continue;
      }
      symbols[best.at] = best.merged;
      symbols[second] = kGone;
      next_[best.at] = next_[second];
      if (next_[second] < n) previous_[next_[second]] = best.at;
      for (const Candidate& again : passed_) {
        queue_.push_back(again);
        std::push_heap(queue_.begin(), queue_.end());
      }
      passed_.clear();
      if (next_[best.at] < n) look(best.at);
      if (best.at > 0) look(previous_[best.at]);
    }
    symbols.erase(std::remove(symbols.begin(), symbols.end(), kGone), symbols.end());
  }

 private:
  static constexpr std::uint32_t kPollEvery = 1024;
  static constexpr std::uint32_t kGone = 0xffffffffu;

  struct Candidate {
    std::uint32_t rank;
    std::uint32_t merged;
    std::uint32_t at;
    std::uint32_t left;  // the symbols it was seen with: stale if they have changed
    std::uint32_t right;
    bool operator<(const Candidate& other) const {  // the heap's greatest comes first
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  std::vector<std::uint32_t> next_;
  std::vector<std::uint32_t> previous_;
  std::vector<Candidate> queue_;
  std::vector<Candidate> passed_;
};

}  // namespace tokfrag
