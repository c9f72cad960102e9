// Words of up to 15 bytes and their ids: one cache line read for a word seen before.
//
// An entry is 32 bytes: a 16-byte key (the bytes, zero-padded, and the length), four ids of 28 bits
// with flags above them. Two entries share a 64-byte line; a word lives in its line or in one of
// the next few. Memory is bounded: when full at its largest size, the cache starts again from the
// vocabulary. One thread at a time.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/huge_buffer.hpp"
#include "tokens/vocabulary.hpp"

namespace tokfrag {

struct WordKey {
  static constexpr int kMaxLength = 15;

  std::uint64_t low;
  std::uint64_t high;  // its top byte is the length

  std::uint64_t hash() const {
    __extension__ using Wide = unsigned __int128;
    const Wide product =
        static_cast<Wide>(low ^ 0x2545F4914F6CDD1Dull) * (high ^ 0xC2B2AE3D27D4EB4Full);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }
};

// The key of text[0, length), length in 1..15; reads exactly `length` bytes.
inline WordKey word_key(const std::uint8_t* text, std::int64_t length) {
  WordKey key{0, 0};
  std::uint8_t bytes[16] = {};
  std::memcpy(bytes, text, static_cast<std::size_t>(length));
  std::memcpy(&key, bytes, 16);
  key.high |= static_cast<std::uint64_t>(length) << 56;
  return key;
}

// The same, but reads 16 bytes: for text with that much room.
inline WordKey word_key_wide(const std::uint8_t* text, std::int64_t length) {
  // A window on these, ending where the length begins: `length` bytes kept, the rest cleared.
  static constexpr std::uint8_t kKept[32] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                             0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
  WordKey key;
  WordKey kept;
  std::memcpy(&key, text, 16);
  std::memcpy(&kept, kKept + 16 - length, 16);
  key.low &= kept.low;
  key.high = (key.high & kept.high) | (static_cast<std::uint64_t>(length) << 56);
  return key;
}

class WordCache {
 public:
  struct Entry {
    WordKey key;           // high == 0: free
    std::uint32_t ids[4];  // ids, with flags: below

    // Above ids[3]: how many ids (1..4), or kSpilled: ids[0] and ids[1] are a place and a count in
    // the spill. Above ids[0]: kSeed, the word is a token, which merging alone might not reach.
    unsigned count() const { return ids[3] >> 28; }
    bool has(const WordKey& other) const {
      return (key.low == other.low) & (key.high == other.high);
    }
  };
  static constexpr unsigned kSpilled = 5;
  static constexpr std::uint32_t kSeed = 1u << 28;
  static constexpr std::uint32_t kIdMask = (1u << 28) - 1;
  static constexpr std::int64_t kMaxEntries = 1 << 20;
  static constexpr std::int64_t kMaxSpill = 1 << 21;

  // Holds every token of up to 15 bytes, as itself.
  explicit WordCache(const Vocabulary& vocabulary);

  // The two entries a word is most likely in.
  Entry* line(std::uint64_t hash) const { return entries_.as<Entry>() + (hash & line_mask_) * 2; }
  // Looks further than the first line; null if the word is not there.
  Entry* find(const WordKey& key, std::uint64_t hash) const;
  // Adds or replaces a word, by its ids (with kSeed on the first, or not); entries found before
  // are no longer valid. Words may be forgotten at any time.
  void insert(const WordKey& key, std::uint64_t hash, const std::uint32_t* ids, std::int64_t count);

  const std::uint32_t* spilled(const Entry& entry) const { return spill_.data() + entry.ids[0]; }

 private:
  static constexpr std::uint64_t kReach = 4;  // lines a word may be in

  void reset(std::int64_t entries);
  void grow();
  bool place(const Entry& entry, std::uint64_t hash);

  const Vocabulary* vocabulary_;
  HugeBuffer entries_;
  std::uint64_t line_mask_ = 0;
  std::int64_t used_ = 0;
  std::vector<std::uint32_t> spill_;
};

}  // namespace tokfrag
