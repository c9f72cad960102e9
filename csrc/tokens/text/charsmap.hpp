// SentencePiece's precompiled map of characters: sequences of them to what they are written as.
//
// Layout of the blob (little endian): the size of the trie in bytes (4), the trie, and the
// replacements, each ended by a zero byte. The trie is a double array of 32-bit units: in a unit,
// bits 0 to 7 are the label, bit 8 says that a key ends here, bits 10 on are the offset of the
// children (shifted by 8 more where bit 9 is set); a key's value, the place of its replacement, is
// in the low 31 bits of the unit at the offset itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tokfrag {

class Charsmap {
 public:
  // Throws std::invalid_argument where the blob is cut short.
  explicit Charsmap(const std::string& blob);

  // Whether this is ASCII, and no key.
  bool keeps(std::uint8_t byte) const { return keeps_[byte]; }
  // Whether no key begins with two ASCII characters.
  bool keeps_pairs() const { return keeps_pairs_; }

  struct Match {
    std::int64_t length;  // of the key in bytes; 0: there is none
    const char* text;     // what it is replaced by, ended by a zero
  };
  // The longest key that text[0, size) begins with.
  Match longest(const std::uint8_t* text, std::int64_t size) const {
    return find(text, size, false);
  }
  // The shortest.
  Match shortest(const std::uint8_t* text, std::int64_t size) const {
    return find(text, size, true);
  }

 private:
  Match find(const std::uint8_t* text, std::int64_t size, bool first) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
  bool keeps_[256] = {};
  bool keeps_pairs_ = true;
};

// A bit a code point: those that may be in one grapheme with their neighbours.
class JoiningSet {
 public:
  // Throws std::invalid_argument if there are not 0x110000 bits.
  explicit JoiningSet(std::string bits);
  bool holds(std::uint32_t point) const {
    return (static_cast<std::uint8_t>(bits_[point >> 3]) >> (point & 7) & 1) != 0;
  }
  // Whether some graphemes of a text may have several characters.
  bool any_in(const std::uint8_t* text, std::int64_t size) const;

 private:
  std::string bits_;
};

// A text and, for each of its characters, the character of the text before that it comes from.
struct AlignedText {
  std::string text;
  std::vector<std::int64_t> sources;
};

// Replaces grapheme by grapheme, as Hugging Face does: one of fewer than six bytes by what its
// shortest key stands for, others (and those that begin with no key) character by character.
// Graphemes end at ends[0..count); null: every character is one.
AlignedText replace_graphemes(const Charsmap& map, const std::uint8_t* text, std::int64_t size,
                              const std::int64_t* ends, std::int64_t count, bool aligned);

}  // namespace tokfrag
