// Byte-pair merging: bytes to symbols, exactly.
//
// Formula: start from one symbol a byte; while some neighbouring pair has a rank, merge the pair of
// the lowest rank (the leftmost of equals). Up to 32 bytes are scanned for the lowest rank. Longer
// inputs are merged in windows of 32 and mended where these meet; where what has to be mended goes
// far, a heap takes the whole: O(n log n) for any input. A run of one byte, of which a text may
// have a million, merges by halves: O(n).
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/byte_pair/pair_table.hpp"
#include "tokens/byte_pair/short_merge.hpp"
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
  std::vector<std::uint32_t> begins_;  // a bit for each byte that a symbol begins at
};

// A word to merge, and what comes out.
struct MergeJob {
  static constexpr std::int64_t kMaxLength = ShortMerge::kPlaces;

  const std::uint8_t* text;
  std::int64_t length;  // 1..kMaxLength
  std::int64_t count;   // of ids
  std::uint32_t ids[kMaxLength];
};

class Merger {
 public:
  static constexpr int kJobs = ShortMergeKernels::kTogether;  // at once

  Merger(const Vocabulary& vocabulary, const PairTable& pairs)
      : vocabulary_(&vocabulary), pairs_(&pairs) {}

  // Writes the ids of text[0, length) to ids (room for `length`) and returns how many; length >= 1.
  std::int64_t operator()(const std::uint8_t* text, std::int64_t length, MergeScratch* scratch,
                          std::uint32_t* ids) const;
  // Merges up to kJobs words side by side.
  void operator()(MergeJob* jobs, int count) const;

 private:
  class Windows;

  std::int64_t merge_run(std::uint8_t byte, std::int64_t length, std::uint32_t* ids) const;
  std::int64_t merge_windows(const std::uint8_t* text, std::int64_t length, MergeScratch* scratch,
                             std::uint32_t* ids) const;
  ByteTables byte_tables() const { return {vocabulary_->byte_symbols(), pairs_->byte_pairs()}; }
  // The ids of a word that has merged; returns how many.
  std::int64_t ids_of(const ShortMerge& word, std::uint32_t* ids) const;
  // Leaves what comes out in the scratch.
  void merge_heap(const std::uint8_t* text, std::int64_t length, MergeScratch* scratch) const;

  const Vocabulary* vocabulary_;
  const PairTable* pairs_;
};

}  // namespace tokfrag
