// Byte-pair merging: bytes to symbols, exactly.
//
// Formula: start from one symbol a byte; while some neighbouring pair has a rank, merge the pair of
// the lowest rank (the leftmost of equals). Short inputs scan for the lowest rank, longer ones keep
// a heap: O(n log n) for any input. A run of one byte, of which a text may have a million, merges
// by halves: O(n).
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/byte_pair/pair_table.hpp"
#include "tokens/byte_pair/vocabulary.hpp"

namespace tokfrag {

// Memory that the heap keeps from one call to the next.
class MergeScratch {
 public:
  // Gives back what a giant piece has taken.
  void trim();

 private:
  friend class Merger;
  struct Node {
    Symbol symbol;  // kNoSymbol: merged into a neighbour
    Rank rank;      // of the pair with the next node
    std::int64_t previous;
    std::int64_t next;
  };
  std::vector<Node> nodes_;
  std::vector<std::uint64_t> heap_;
};

// A word to merge, and what comes out.
struct MergeJob {
  static constexpr std::int64_t kMaxLength = 32;

  const std::uint8_t* text;
  std::int64_t length;  // 1..kMaxLength
  std::int64_t count;   // of ids
  std::uint32_t ids[kMaxLength];
};

class Merger {
 public:
  static constexpr int kJobs = 8;  // at once

  Merger(const Vocabulary& vocabulary, const PairTable& pairs)
      : vocabulary_(&vocabulary), pairs_(&pairs) {}

  // Writes the ids of text[0, length) to ids (room for `length`) and returns how many; length >= 1.
  std::int64_t operator()(const std::uint8_t* text, std::int64_t length, MergeScratch* scratch,
                          std::uint32_t* ids) const;
  // Merges up to kJobs words side by side: while one waits for memory, the others go on.
  void operator()(MergeJob* jobs, int count) const;

 private:
  class ShortMerge;

  std::int64_t merge_run(std::uint8_t byte, std::int64_t length, std::uint32_t* ids) const;
  std::int64_t merge_long(const std::uint8_t* text, std::int64_t length, MergeScratch* scratch,
                          std::uint32_t* ids) const;

  const Vocabulary* vocabulary_;
  const PairTable* pairs_;
};

}  // namespace tokfrag
