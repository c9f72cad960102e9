// Words and their ids, as the word cache keeps them: up to 15 bytes in half a cache line, up to 63
// in two lines.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace tokfrag {

// The bytes, zero-padded, and word_mark() over them; kSpilled in the key of an entry whose ids are
// elsewhere. No key is zero.
struct WordKey {
  std::uint64_t low;
  std::uint64_t high;
};

struct WordEntry {
  WordKey key;           // zero: free
  std::uint32_t ids[4];  // the last of 24 bits; above it: how many there are
};

constexpr int kMaxWord = 15;
// In a part of a piece, whose ids come by merging alone even where it happens to be a token.
constexpr std::uint64_t kUnit = 0x80ull << 56;
// More ids than there is room for: ids[0] and ids[1] are their place in the spill and their count.
// What is there is a multiple of kSpillStep long. The flag is in the key, so that the one question
// that the loop asks tells these apart too.
constexpr std::uint64_t kSpilled = 0x40ull << 56;
constexpr int kSpillStep = 4;
constexpr std::uint32_t kLastIdMask = (1u << 24) - 1;

// What a key holds besides the bytes: in the top byte the length and kUnit. Below, so that a
// product of the halves of a key is a hash of it, a constant.
constexpr std::uint64_t word_mark(std::uint64_t length, std::uint64_t unit) {
  return (length << 56 | unit) ^ 0xB2AE3D27D4EB4Full;
}

// The same for a longer word. Where there are more ids than kMaxIds, ids[0] is their place in a
// spill of their own.
struct LongWord {
  static constexpr std::int64_t kMaxLength = 63;
  static constexpr std::int64_t kMaxIds = 15;

  std::uint64_t key[8];  // the bytes, zero-padded; in the top byte the length, and kUnit
  std::uint32_t ids[kMaxIds];
  std::uint32_t count;  // 0: free
};

// Internal linkage, because kernels compiled for several instruction sets include this.
namespace {

// The halves of the product, folded.
inline std::uint64_t fold_product(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t hash_key(const WordKey& key) { return fold_product(key.low, key.high); }

inline std::uint64_t hash_long_key(const std::uint64_t* key) {
  std::uint64_t hash = 0;
  for (int i = 0; i < 8; i += 2) {
    hash =
        hash * 3 + fold_product(key[i] ^ 0x2545F4914F6CDD1Dull, key[i + 1] ^ 0xC2B2AE3D27D4EB4Full);
  }
  return hash;
}

// The key of text[0, length), length in 1..15; reads exactly `length` bytes.
inline WordKey word_key(const std::uint8_t* text, std::int64_t length, std::uint64_t unit) {
  std::uint8_t bytes[16] = {};
  std::memcpy(bytes, text, static_cast<std::size_t>(length));
  WordKey key;
  std::memcpy(&key, bytes, 16);
  key.high ^= word_mark(static_cast<std::uint64_t>(length), unit);
  return key;
}

// The same of a longer word, length in 16..63.
inline void make_long_key(const std::uint8_t* text, std::int64_t length, std::uint64_t unit,
                          std::uint64_t* key) {
  std::memset(key, 0, 64);
  std::memcpy(key, text, static_cast<std::size_t>(length));
  key[7] |= unit | static_cast<std::uint64_t>(length) << 56;
}

inline bool same_key(const WordKey& a, const WordKey& b) {
#if defined(__SSE4_1__)
  const __m128i difference = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(&a)),
                                           _mm_loadu_si128(reinterpret_cast<const __m128i*>(&b)));
  return _mm_testz_si128(difference, difference) != 0;
#else
  return ((a.low ^ b.low) | (a.high ^ b.high)) == 0;
#endif
}

// Whether an entry is that of a word, wherever its ids are.
inline bool is_of(const WordEntry& entry, const WordKey& key) {
  return ((entry.key.low ^ key.low) | ((entry.key.high ^ key.high) & ~kSpilled)) == 0;
}

inline bool is_spilled(const WordEntry& entry) { return (entry.key.high & kSpilled) != 0; }

// Of an entry that is not spilled.
inline unsigned id_count(const WordEntry& entry) { return entry.ids[3] >> 24; }

// Of any.
inline std::uint32_t count_of(const WordEntry& entry) {
  return is_spilled(entry) ? entry.ids[1] : id_count(entry);
}

// Copies ids out of a spill, a step at a time: up to three places behind the last are overwritten.
inline void copy_spilled(const std::uint32_t* from, std::uint32_t count, std::uint32_t* to) {
  for (std::uint32_t at = 0; at < count; at += kSpillStep) {
    std::memcpy(to + at, from + at, kSpillStep * sizeof(*to));
  }
}

}  // namespace

}  // namespace tokfrag
