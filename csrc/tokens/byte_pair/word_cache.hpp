// Words seen before and their ids: one cache line read for a word of up to 15 bytes, two for one of
// up to 63.
//
// Tables begin small, and grow with what is met. Memory is bounded: when the table of short words
// is full at its largest size, it starts again from nothing; of long words the older of two gives
// way. One thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "core/huge_buffer.hpp"
#include "tokens/byte_pair/word_entry.hpp"
#include "tokens/byte_pair/word_lookup.hpp"

namespace tokfrag {

class WordCache {
 public:
  static constexpr std::int64_t kFirstEntries = 1 << 12;
  static constexpr std::int64_t kMaxEntries = 1 << 20;
  static constexpr std::int64_t kMaxSpill = 1 << 21;

  WordCache() { reset(kFirstEntries); }

  // Fills in what there is of short words.
  void tables(WordTables* tables) const {
    tables->entries = entries_.as<WordEntry>();
    tables->line_mask = line_mask_;
    tables->spill = spill_.data();
  }
  // Whether the word is in its line.
  bool is_near(const WordKey& key, std::uint64_t hash) const {
    const WordEntry* const home = line(hash, 0);
    return is_of(home[0], key) || is_of(home[1], key);
  }
  // The word; one that is further than its line is brought there. Null if it is nowhere.
  const WordEntry* find(const WordKey& key, std::uint64_t hash) {
    if (line(hash, 0)[1].key.high == 0 && !is_near(key, hash)) return nullptr;
    return find_further(key, hash);
  }
  // Adds or replaces a word; what tables() and find() have given is no longer valid. Words may be
  // forgotten at any time.
  void insert(const WordKey& key, std::uint64_t hash, const std::uint32_t* ids, std::int64_t count);
  // Writes the ids of an entry and returns how many.
  std::int64_t copy_ids(const WordEntry& entry, std::uint32_t* ids) const;

 private:
  static constexpr int kReach = 4;  // lines a word may be in

  WordEntry* line(std::uint64_t hash, int step) const {
    const std::uint64_t at = (hash + static_cast<std::uint64_t>(step) * 64) & line_mask_;
    return reinterpret_cast<WordEntry*>(entries_.as<std::uint8_t>() + at);
  }
  WordEntry* locate(const WordKey& key, std::uint64_t hash, int* step) const;
  const WordEntry* find_further(const WordKey& key, std::uint64_t hash);
  bool reaches(const WordEntry& entry, const WordEntry* place) const;
  void reset(std::int64_t entries);
  void grow();
  bool place(const WordEntry& entry, std::uint64_t hash);

  HugeBuffer entries_;
  std::uint64_t line_mask_ = 0;  // in bytes: hash & line_mask_ is where a line begins
  std::int64_t used_ = 0;
  std::vector<std::uint32_t> spill_;
};

// The same for words of 16 to 63 bytes.
class LongWordCache {
 public:
  static constexpr std::int64_t kFirstWords = 1 << 11;
  static constexpr std::int64_t kMaxWords = 1 << 17;
  static constexpr std::int64_t kMaxSpill = 1 << 21;

  void tables(WordTables* tables) const {
    tables->long_words = words_.as<LongWord>();
    tables->long_mask = mask_;
    tables->long_spill = spill_.data();
  }
  // The word; null if it is not there.
  const LongWord* find(const std::uint8_t* text, std::int64_t length, std::uint64_t unit) const;
  const std::uint32_t* ids(const LongWord& word) const {
    return word.count > LongWord::kMaxIds ? spill_.data() + word.ids[0] : word.ids;
  }
  // Remembers a word.
  void insert(const std::uint8_t* text, std::int64_t length, std::uint64_t unit,
              const std::uint32_t* ids, std::int64_t count);

 private:
  void grow();
  void put(const LongWord& word);

  HugeBuffer words_;        // in pairs; none before the first word
  std::uint64_t mask_ = 0;  // hash & mask_ is the first of a pair
  std::vector<std::uint32_t> spill_;
  std::int64_t added_ = 0;  // since the last growth
};

// Which words have come up before, nearly: a word is worth remembering when it comes again.
class SeenWords {
 public:
  // Whether a word of this hash was asked for before (or, rarely, another).
  bool again(std::uint64_t hash);

 private:
  static constexpr std::uint64_t kBits = 1 << 20;

  std::vector<std::uint64_t> bits_;
  std::uint64_t count_ = 0;
};

}  // namespace tokfrag
