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

#include "tokens/text/byte_runs.hpp"
#include "tokens/text/character_map.hpp"
#include "tokens/text/graphemes.hpp"

namespace tokfrag {

class Charsmap {
 public:
  // Throws std::invalid_argument where the blob is cut short.
  explicit Charsmap(const std::string& blob);

  // Whether this is ASCII, and no key.
  bool keeps(std::uint8_t byte) const { return kept_.holds(byte); }
  // Those of them that are graphemes by themselves whatever ASCII is beside them: all but CR.
  const AsciiSet& plain() const { return plain_; }
  // Whether a text that begins with this character may begin with a key.
  bool starts(std::uint32_t point) const { return starts_.holds(point); }
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
  // The node below `children` by a byte; kNone: there is none.
  std::uint32_t step(std::uint32_t children, std::uint8_t byte) const;
  void note_starts(std::uint32_t node, std::uint32_t point, int left, bool ended);

  std::vector<std::uint32_t> units_;
  std::string replacements_;
  AsciiSet kept_;
  AsciiSet plain_;
  PointSet starts_;
  bool keeps_pairs_ = true;
};

// A text and, for each of its characters, the character of the text before that it comes from.
struct AlignedText {
  std::string text;
  std::vector<std::int64_t> sources;
};

// Replaces grapheme by grapheme, as Hugging Face does: one of fewer than six bytes by what its
// shortest key stands for, others (and those that begin with no key) character by character.
AlignedText replace_aligned(const Charsmap& map, const GraphemeTable& graphemes,
                            const std::uint8_t* text, std::int64_t size);
// The same without sources. Returns false, and writes nothing, where the text stays as it is.
bool replace_graphemes(const Charsmap& map, const GraphemeTable& graphemes,
                       const std::uint8_t* text, std::int64_t size, std::string* out);

}  // namespace tokfrag
