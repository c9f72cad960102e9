// A word of up to 15 bytes and its ids, as the word cache keeps them: half a cache line.
#pragma once

#include <cstdint>
#include <cstring>

namespace tokfrag {

// The bytes, zero-padded; in the top byte the length, and kUnit in a part of a piece, whose ids
// come by merging alone even where it happens to be a token. No key is zero.
struct WordKey {
  std::uint64_t low;
  std::uint64_t high;
};

struct WordEntry {
  WordKey key;           // zero: free
  std::uint32_t ids[4];  // of 28 bits; above the last: how many there are, or kSpilled
};

constexpr int kMaxWord = 15;
constexpr std::uint64_t kUnit = 0x80ull << 56;
constexpr std::uint32_t kIdMask = (1u << 28) - 1;
// More ids than four: ids[0] and ids[1] are their place in the spill and their count.
constexpr unsigned kSpilled = 5;

// Internal linkage, because kernels compiled for several instruction sets include this.
namespace {

inline std::uint64_t hash_key(const WordKey& key) {
  __extension__ using Wide = unsigned __int128;
  const Wide product =
      static_cast<Wide>(key.low ^ 0x2545F4914F6CDD1Dull) * (key.high ^ 0xC2B2AE3D27D4EB4Full);
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

// The key of text[0, length), length in 1..15; reads exactly `length` bytes.
inline WordKey word_key(const std::uint8_t* text, std::int64_t length, std::uint64_t unit) {
  std::uint8_t bytes[16] = {};
  std::memcpy(bytes, text, static_cast<std::size_t>(length));
  WordKey key;
  std::memcpy(&key, bytes, 16);
  key.high |= unit | static_cast<std::uint64_t>(length) << 56;
  return key;
}

inline bool same_key(const WordKey& a, const WordKey& b) {
  return ((a.low ^ b.low) | (a.high ^ b.high)) == 0;
}

inline unsigned id_count(const WordEntry& entry) { return entry.ids[3] >> 28; }

}  // namespace

}  // namespace tokfrag
