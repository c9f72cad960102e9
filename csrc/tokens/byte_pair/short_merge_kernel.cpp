// A step merges the pair of the lowest rank of every word and asks for the ranks of its new
// neighbours; the next reads them. Every search is over a fixed number of places: nothing to
// mispredict.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tokens/byte_pair/short_merge.hpp"

namespace tokfrag {

namespace {

// The rank above, the place below: of equals the leftmost is the lowest.
std::int32_t key_of(Rank rank, int place) {
  return rank == kNoRank ? ShortMerge::kNoKey
                         : static_cast<std::int32_t>(rank << ShortMerge::kPlaceBits) | place;
}

using FourKeys = std::int32_t __attribute__((vector_size(16)));

FourKeys four_keys(const std::int32_t* keys) {
  FourKeys four;
  std::memcpy(&four, keys, sizeof four);
  return four;
}

FourKeys lower(FourKeys a, FourKeys b) { return a < b ? a : b; }

// The lowest key of a word of few bytes, four at a time: the compiler unrolls so short a loop.
std::int32_t lowest_of_few(const ShortMerge& word) {
  FourKeys first = four_keys(word.keys);
  for (int i = 4; i < ShortMerge::kFew; i += 4) first = lower(first, four_keys(word.keys + i));
  std::int32_t last[4];
  std::memcpy(last, &first, sizeof last);
  return std::min(std::min(last[0], last[1]), std::min(last[2], last[3]));
}

// Of any; the compiler takes whole registers of them.
std::int32_t lowest(const ShortMerge& word) {
  std::int32_t first = ShortMerge::kNoKey;
  for (const std::int32_t key : word.keys) first = std::min(key, first);
  return first;
}

// Places that hold a symbol, after and before the one merged last.
std::uint32_t above(const ShortMerge& word) { return word.alive & ~((2u << word.at) - 1); }
std::uint32_t below(const ShortMerge& word) { return word.alive & ((1u << word.at) - 1); }
int first_of(std::uint32_t places) { return __builtin_ctz(places); }
int last_of(std::uint32_t places) { return 31 - __builtin_clz(places); }

// False if nothing merges.
bool merge(const PairView& pairs, bool few, ShortMerge* word) {
  const std::int32_t key = few ? lowest_of_few(*word) : lowest(*word);
  if (key == ShortMerge::kNoKey) return false;
  word->at = key & (ShortMerge::kPlaces - 1);
  const auto rank = static_cast<Rank>(key >> ShortMerge::kPlaceBits);
  const Symbol merged = pairs.merged == nullptr ? rank : pairs.merged[rank];
  word->symbols[word->at] = merged;
  const int eaten = first_of(above(*word));
  word->alive &= ~(1u << eaten);
  word->keys[eaten] = ShortMerge::kNoKey;
  if (const std::uint32_t places = above(*word)) {
    word->after = hash_pair(pair_key(merged, word->symbols[first_of(places)]));
    prefetch_pair(pairs, word->after);
  }
  if (const std::uint32_t places = below(*word)) {
    word->before = hash_pair(pair_key(word->symbols[last_of(places)], merged));
    prefetch_pair(pairs, word->before);
  }
  return true;
}

// Reads the ranks that merge() has asked for.
void rate(const PairView& pairs, ShortMerge* word) {
  const Symbol merged = word->symbols[word->at];
  Rank rank = kNoRank;
  if (const std::uint32_t places = above(*word)) {
    rank = find_rank(pairs, pair_key(merged, word->symbols[first_of(places)]), word->after);
  }
  word->keys[word->at] = key_of(rank, word->at);
  if (const std::uint32_t places = below(*word)) {
    const int place = last_of(places);
    const std::uint64_t key = pair_key(word->symbols[place], merged);
    word->keys[place] = key_of(find_rank(pairs, key, word->before), place);
  }
}

void begin(const ByteTables& bytes, const std::uint8_t* text, int length, ShortMerge* word) {
  word->alive = static_cast<std::uint32_t>((std::uint64_t{1} << length) - 1);
  for (int i = 0; i < length; ++i) word->symbols[i] = bytes.symbols[text[i]];
  for (int i = 0; i + 1 < length; ++i) {
    word->keys[i] = key_of(bytes.pairs[text[i] << 8 | text[i + 1]], i);
  }
  for (int i = length - 1; i < ShortMerge::kPlaces; ++i) word->keys[i] = ShortMerge::kNoKey;
}

void finish(const PairView& pairs, ShortMerge* words, int count) {
  int active[ShortMergeKernels::kTogether];
  std::uint32_t places = 0;
  for (int i = 0; i < count; ++i) {
    active[i] = i;
    places |= words[i].alive;
  }
  const bool few = places >> ShortMerge::kFew == 0;
  while (count > 0) {
    int still = 0;
    for (int i = 0; i < count; ++i) {
      if (merge(pairs, few, words + active[i])) active[still++] = active[i];
    }
    count = still;
    for (int i = 0; i < count; ++i) rate(pairs, words + active[i]);
  }
}

}  // namespace

namespace TOKFRAG_ISA {

extern const ShortMergeKernels short_merge = {&begin, &finish};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
