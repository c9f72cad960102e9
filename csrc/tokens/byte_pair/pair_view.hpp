// A pair table as plain pointers, and its lookup: what kernels compiled for several instruction
// sets include.
#pragma once

#include <cstdint>

namespace tokfrag {

using Symbol = std::uint32_t;

// The order in which pairs merge; the lowest rank goes first, the leftmost of equals.
using Rank = std::uint32_t;
constexpr Rank kNoRank = 0xFFFFFFFFu;
constexpr std::int64_t kMaxRanks = 1 << 22;

struct PairView {
  static constexpr int kRankBits = 22;
  static constexpr std::uint64_t kEmpty = ~0ull;

  const std::uint64_t* slots;  // key (42 bits), rank (22)
  std::uint64_t mask;
  int shift;
  const std::uint64_t* filter;  // a bit for each pair at its hash
  int filter_shift;
  const Symbol* merged;  // by rank; null: the rank itself
};

// Internal linkage, because kernels compiled for several instruction sets include this.
namespace {

inline std::uint64_t pair_key(Symbol left, Symbol right) {
  return static_cast<std::uint64_t>(left) << 21 | right;
}

inline std::uint64_t hash_pair(std::uint64_t key) {
  key *= 0x9E3779B97F4A7C15ull;
  return (key ^ key >> 32) * 0xD6E8FEB86659FD93ull;
}

// Asks for the memory that find_rank will read.
inline void prefetch_pair(const PairView& pairs, std::uint64_t hash) {
  __builtin_prefetch(pairs.filter + (hash >> pairs.filter_shift >> 6));
  __builtin_prefetch(pairs.slots + (hash >> pairs.shift));
}

inline Rank find_rank(const PairView& pairs, std::uint64_t key, std::uint64_t hash) {
  const std::uint64_t bit = hash >> pairs.filter_shift;
  if ((pairs.filter[bit >> 6] >> (bit & 63) & 1) == 0) return kNoRank;
  for (std::uint64_t at = hash >> pairs.shift;; at = (at + 1) & pairs.mask) {
    const std::uint64_t slot = pairs.slots[at];
    if (slot >> PairView::kRankBits == key) return static_cast<Rank>(slot & (kMaxRanks - 1));
    if (slot == PairView::kEmpty) return kNoRank;
  }
}

inline Rank find_rank(const PairView& pairs, Symbol left, Symbol right) {
  const std::uint64_t key = pair_key(left, right);
  return find_rank(pairs, key, hash_pair(key));
}

}  // namespace

}  // namespace tokfrag
