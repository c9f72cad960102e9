// The merging of up to 32 bytes, several such words side by side: while one waits for memory, the
// others go on.
#pragma once

#include <cstdint>

#include "core/isa.hpp"
#include "tokens/byte_pair/pair_view.hpp"

namespace tokfrag {

// A word on its way. Symbols stay where they begin; a mask says which places still hold one.
struct ShortMerge {
  static constexpr int kPlaceBits = 5;
  static constexpr int kPlaces = 1 << kPlaceBits;
  static constexpr int kFew = 16;  // places that are looked at where there are no more
  static constexpr std::int32_t kNoKey = INT32_MAX;
  static_assert((kMaxRanks << kPlaceBits) < kNoKey);

  std::int32_t keys[kPlaces];  // keys[i]: of the pair that the symbol at i begins
  Symbol symbols[kPlaces];
  std::uint32_t alive;   // a bit for each place that holds a symbol
  int at;                // where the last merge was
  std::uint64_t before;  // the hashes of its pairs with the symbols before and after it
  std::uint64_t after;
};

// What single bytes are, and the ranks of their pairs (256 x 256).
struct ByteTables {
  const Symbol* symbols;
  const Rank* pairs;
};

struct ShortMergeKernels {
  // Sets a word out as its bytes, 1 to 32 of them.
  void (*begin)(const ByteTables& bytes, const std::uint8_t* text, int length, ShortMerge* word);
  // Merges up to kTogether words to their ends.
  void (*finish)(const PairView& pairs, ShortMerge* words, int count);
  static constexpr int kTogether = 16;
};

TOKFRAG_ISA_TABLE(ShortMergeKernels, short_merge, short_merge_kernels)

}  // namespace tokfrag
