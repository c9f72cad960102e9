// The inner loops of encoding: keys of many words at once, then their ids out of the word cache.
#pragma once

#include <cstdint>

#include "core/isa.hpp"
#include "tokens/byte_pair/word_entry.hpp"

namespace tokfrag {

// The tables of a word cache. Lines are two entries each; hash & line_mask is where a line begins,
// in bytes.
struct WordTables {
  WordEntry* entries;
  std::uint64_t line_mask;
  const std::uint32_t* spill;
  LongWord* long_words;
  std::uint64_t long_mask;
  const std::uint32_t* long_spill;
};

// Words that lie end to end in a text: word i is text[ends[i - 1], ends[i]), the first from
// `begin`.
struct WordRun {
  const std::uint8_t* text;
  std::int64_t size;  // of the text
  std::int64_t begin;
  const std::int64_t* ends;

  std::int64_t begin_of(int i) const { return i == 0 ? begin : ends[i - 1]; }
  std::int64_t length(int i) const { return ends[i] - begin_of(i); }
};

// A word on its way: its key, and where its line begins. A word of more than 15 bytes has a key
// that no entry has.
struct PackedWord {
  WordKey key;
  std::uint64_t place;
};

struct WordLookup {
  // Packs words[from, count) and asks for the memory where they are looked for. unit: kUnit if the
  // words are parts of pieces, or 0.
  void (*pack)(const WordRun& words, int from, int count, std::uint64_t unit,
               const WordTables& tables, PackedWord* packed);
  // Writes the ids of words[from, count) to *cursor, which moves on, up to the first word that is
  // not where it is looked for; returns its index. Of two words in a line the one found second goes
  // to the front. Up to kMostOver places behind the last id are overwritten.
  int (*emit)(const WordRun& words, const PackedWord* packed, int from, int count,
              std::uint64_t unit, const WordTables& tables, std::uint32_t** cursor);
  static constexpr std::int64_t kMostOver = 16;
};

TOKFRAG_ISA_TABLE(WordLookup, word_lookup, word_lookup_kernels)

}  // namespace tokfrag
