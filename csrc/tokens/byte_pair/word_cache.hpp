// Words seen before and their ids: one cache line read for a word of up to 15 bytes, two for one of
// up to 63.
//
// Memory is bounded: when the table of short words is full at its largest size, it starts again
// from the vocabulary; of long words the older of two gives way. One thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "core/huge_buffer.hpp"
#include "tokens/byte_pair/vocabulary.hpp"
#include "tokens/byte_pair/word_entry.hpp"
#include "tokens/byte_pair/word_lookup.hpp"

namespace tokfrag {

class WordCache {
 public:
  static constexpr std::int64_t kMaxEntries = 1 << 20;
  static constexpr std::int64_t kMaxSpill = 1 << 21;

  // With `seeded`, holds every token of up to 15 bytes, as a piece that is itself.
  WordCache(const Vocabulary& vocabulary, bool seeded);

  // The two entries a word is most likely in are in lines().
  WordLines lines() const { return {entries_.as<WordEntry>(), line_mask_}; }
  // Looks further than the first line; null if the word is not there.
  WordEntry* find(const WordKey& key, std::uint64_t hash) const;
  // Adds or replaces a word; entries found before are no longer valid. Words may be forgotten at
  // any time.
  void insert(const WordKey& key, std::uint64_t hash, const std::uint32_t* ids, std::int64_t count);
  const std::uint32_t* spilled(const WordEntry& entry) const {
    return spill_.data() + entry.ids[0];
  }
  // Whether every token of up to 15 bytes is there, so that a piece not found is none.
  bool holds_all_tokens() const { return holds_all_tokens_; }

 private:
  static constexpr std::uint64_t kReach = 4;  // lines a word may be in

  WordEntry* line(std::uint64_t hash) const {
    return entries_.as<WordEntry>() + (hash & line_mask_) * 2;
  }
  void reset(std::int64_t entries);
  void grow();
  bool place(const WordEntry& entry, std::uint64_t hash);

  const Vocabulary* vocabulary_;
  bool seeded_;
  bool holds_all_tokens_ = false;
  HugeBuffer entries_;
  std::uint64_t line_mask_ = 0;
  std::int64_t used_ = 0;
  std::vector<std::uint32_t> spill_;
};

// The same for words of 16 to 63 bytes, found one by one.
class LongWordCache {
 public:
  static constexpr std::int64_t kMaxIds = 15;

  // The ids of a word and how many they are; null if it is not there.
  const std::uint32_t* find(const std::uint8_t* text, std::int64_t length, bool unit,
                            std::int64_t* count) const;
  // Remembers a word, unless it has too many ids.
  void insert(const std::uint8_t* text, std::int64_t length, bool unit, const std::uint32_t* ids,
              std::int64_t count);

 private:
  static constexpr std::int64_t kEntries = 1 << 15;

  struct Entry {
    std::uint64_t key[8];  // the bytes, zero-padded; in the top byte the length, 0x80 in a unit
    std::uint32_t ids[kMaxIds];
    std::uint32_t count;
  };

  HugeBuffer entries_;  // none before the first word
};

}  // namespace tokfrag
