// The inner loops of encoding: keys of many words at once, then their ids out of the word cache.
#pragma once

#include <cstdint>

#include "core/isa.hpp"
#include "tokens/byte_pair/word_entry.hpp"

namespace tokfrag {

// A word on its way: its key and what the key hashes to. A word too long for the cache has a key
// that no entry has.
struct PackedWord {
  WordKey key;
  std::uint64_t hash;
};

// The lines of a word cache: two entries each.
struct WordLines {
  const WordEntry* entries;
  std::uint64_t line_mask;
};

// Words of up to 63 bytes are remembered whole, but for those that end in an ideograph (or kana):
// these are many and new, their parts few and well known.
constexpr std::int64_t kMaxLongWord = 63;

// Internal linkage, because kernels compiled for several instruction sets include this.
namespace {

inline bool worth_splitting(const std::uint8_t* text, std::int64_t length) {
  const std::int64_t last = length > 3 ? length - 3 : 0;
  return (static_cast<std::uint8_t>(text[last] - 0xE3) <= 0xE9 - 0xE3) | (length > kMaxLongWord);
}

}  // namespace

struct WordLookup {
  // Packs words i = 0..count: text[ends[i - 1], ends[i]), the first from `begin`, of a text of
  // `size` bytes; units[i]: word i is a part of a piece (null: none is). Asks for their lines.
  // Returns whether some word had better been split (worth_splitting).
  bool (*pack)(const std::uint8_t* text, std::int64_t size, std::int64_t begin,
               const std::int64_t* ends, const bool* units, int count, WordLines lines,
               PackedWord* words);
  // Writes the ids of words[from, count) to *cursor, which moves on, up to the first word that is
  // not in its line or has more than four ids; returns its index. Up to three places behind the
  // last id are overwritten.
  int (*emit)(const PackedWord* words, int from, int count, WordLines lines,
              std::uint32_t** cursor);
};

TOKFRAG_ISA_TABLE(WordLookup, word_lookup, word_lookup_kernels)

}  // namespace tokfrag
