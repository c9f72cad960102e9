// BERT's tokenizer: text to WordPiece ids in one pass over the text.
//
// Normalisation (cleaning, spaces around Chinese characters, accents, case) and the split into
// words are one table over characters: what each becomes. ASCII words take a path of their own,
// which looks the lower-cased word up whole; everything else goes through the table and the trie.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokens/wordpiece/trie.hpp"

namespace tokfrag {

// What a character becomes: a kind in the top 3 bits and its payload.
enum class UnitKind : std::uint32_t {
  kChar = 0,     // a character of a word: its code point
  kSpace = 1,    // the end of a word
  kAlone = 2,    // a word of its own: its code point
  kDropped = 3,  // nothing; marks sort across it
  kStarter = 4,  // nothing; marks do not sort across it
  kMark = 5,     // a character of a word that sorts by combining class: class << 21 | code point
  kSeveral = 6,  // a list: where it begins in `lists`, its length first
};

constexpr std::uint32_t kUnitBits = 29;
constexpr std::uint32_t unit_payload(std::uint32_t unit) { return unit & ((1u << kUnitBits) - 1); }
constexpr UnitKind unit_kind(std::uint32_t unit) {
  return static_cast<UnitKind>(unit >> kUnitBits);
}

struct WordPieceOptions {
  std::uint32_t unknown = 0;        // the id of a word that is not made of tokens
  std::int64_t longest_word = 100;  // in characters; longer ones are unknown
};

// A token's place in the text, in bytes.
struct TokenSpan {
  std::int64_t begin;
  std::int64_t end;
};

class WordPiece {
 public:
  // `units`: what each of the 0x110000 code points becomes.
  WordPiece(const std::vector<std::string>& tokens, std::string_view prefix,
            const std::uint32_t* units, std::vector<std::uint32_t> lists,
            const WordPieceOptions& options);

  // Appends the ids of a text in UTF-8 (invalid bytes count as U+FFFD each); with `spans`, also
  // where in the text each token comes from.
  void encode(const std::uint8_t* text, std::int64_t size, std::vector<std::uint32_t>* ids,
              std::vector<TokenSpan>* spans) const;

  // Whether an ASCII byte ends words and becomes nothing, or is a word of its own.
  bool is_space(std::uint8_t byte) const;
  bool is_alone(std::uint8_t byte) const;

 private:
  class Writer;
  struct Key {
    std::uint64_t low = 0;
    std::uint64_t high = 0;  // with the length in its top byte
  };
  // What a character of two bytes becomes, where that is one character of a word of one or two
  // bytes; else of length 0.
  struct ShortForm {
    std::uint8_t bytes[2] = {0, 0};
    std::uint8_t length = 0;
  };
  static constexpr std::uint32_t kNoToken = 0xffffffffu;
  static constexpr std::int64_t kWholeBytes = 15;

  std::uint32_t unit_of(std::uint32_t code) const {
    return pages_[static_cast<std::size_t>(page_of_[code >> 8]) << 8 | (code & 0xff)];
  }
  // The id of a word of up to 15 bytes, as two integers, that is a token itself; else kNoToken.
  std::uint32_t find_whole(std::uint64_t low, std::uint64_t high) const;
  std::uint32_t with_id(std::uint32_t unit) const;
  void add_whole(std::string_view token, std::uint32_t id);
  std::int64_t encode_ascii(const std::uint8_t* text, std::int64_t at, std::int64_t size,
                            Writer& writer) const;
  std::int64_t encode_any(const std::uint8_t* text, std::int64_t at, std::int64_t size,
                          Writer& writer) const;

  WordPieceOptions options_;
  WordPieceTrie trie_;
  // Tokens that are short enough to be looked up whole: a small table of ids, 8 bits of the hash on
  // top, and their keys by id, since frequent words tend to have low ids.
  std::vector<std::uint32_t> whole_;
  std::vector<Key> keys_;
  std::vector<std::uint16_t> page_of_;
  std::vector<std::uint32_t> pages_;
  std::vector<std::uint32_t> lists_;
  std::uint8_t kind_[256];  // what a byte begins: ByteKind
  std::uint8_t lowered_[128] = {};
  std::vector<ShortForm> two_bytes_;  // by the last 5 and 6 bits of the bytes
  bool lowercase_ = false;
  std::vector<std::uint32_t> lengths_;  // of tokens, in bytes, as first and as later part
  std::vector<std::uint32_t> suffix_lengths_;
};

}  // namespace tokfrag
