// Which pair a byte-pair trainer merges next: the one with the highest count it was pushed with.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tokfrag {

struct Candidate {
  std::int64_t count;
  std::uint32_t left;
  std::uint32_t right;
  std::uint32_t record;
  bool operator<(const Candidate& other) const {
    if (count != other.count) return count < other.count;
    if (left != other.left) return left > other.left;
    if (right != other.right) return right > other.right;
    return record > other.record;
  }
};

// A heap of the highest counts only: the rest wait in lists by the leading four bits of theirs.
// Nearly all candidates are never looked at, so a push is an append, and the heap fits the cache.
class CandidateQueue {
 public:
  bool empty() const { return size_ == 0; }

  void push(const Candidate& candidate) {
    ++size_;
    const std::size_t list = list_of(candidate.count);
    if (list < lowest_) {
      waiting_[list].push_back(candidate);
      return;
    }
    heap_.push_back(candidate);
    std::push_heap(heap_.begin(), heap_.end());
  }

  // The highest, of a queue that is not empty.
  Candidate pop() {
    if (heap_.empty()) refill();
    std::pop_heap(heap_.begin(), heap_.end());
    const Candidate best = heap_.back();
    heap_.pop_back();
    --size_;
    return best;
  }

  void clear() { *this = CandidateQueue(); }

 private:
  static constexpr int kExactBits = 3;
  static constexpr std::size_t kExact = std::size_t{1} << kExactBits;
  static constexpr std::size_t kLists = kExact * (64 - kExactBits);

  // Rises with the count; counts below kExact have a list each.
  static std::size_t list_of(std::int64_t count) {
    if (count < static_cast<std::int64_t>(kExact)) {
      return static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
    }
    const auto bits = static_cast<std::uint64_t>(count);
    const int above = 63 - __builtin_clzll(bits) - kExactBits;
    return kExact * static_cast<std::size_t>(above + 1) + ((bits >> above) & (kExact - 1));
  }

  void refill() {
    while (waiting_[--lowest_].empty()) {
    }
    heap_.swap(waiting_[lowest_]);
    std::make_heap(heap_.begin(), heap_.end());
  }

  std::vector<Candidate> heap_;  // those of the lists from lowest_ on
  std::size_t lowest_ = kLists;
  std::array<std::vector<Candidate>, kLists> waiting_;
  std::size_t size_ = 0;
};

}  // namespace tokfrag
