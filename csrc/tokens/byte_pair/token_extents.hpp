// What each id covers of a text, in bytes and in characters: the spans of a text's ids follow from
// the ids alone, without a look at the text.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/byte_pair/decoder.hpp"

namespace tokfrag {

class TokenExtents {
 public:
  enum class Unit { kBytes, kCharacters };

  explicit TokenExtents(const Decoder& decoder);

  // Writes where each of ids[0, count) begins and ends, the first at 0, to spans (count, 2), on up
  // to `threads` threads (0: default). In characters, a token that begins inside a character begins
  // where that does, and one that ends inside a character ends after it. False: an id is unknown.
  bool write(const std::uint32_t* ids, std::int64_t count, Unit unit, int threads,
             std::int64_t* spans) const;

  // The same for many texts, each of which begins at 0: ids[rows[i], rows[i + 1]) are those of text
  // i. False too where `rows` does not rise from 0 to `held`.
  bool write_rows(const std::uint32_t* ids, std::int64_t held, const std::int64_t* rows,
                  std::int64_t count, Unit unit, int threads, std::int64_t* spans) const;

 private:
  // Bits 0 to 30: how many bytes, or characters that begin in the token. Bit 31, of characters
  // only: its first byte goes on with a character.
  const std::vector<std::uint32_t>& table(Unit unit) const {
    return unit == Unit::kBytes ? bytes_ : characters_;
  }

  std::vector<std::uint32_t> bytes_;       // by id; 0: unknown
  std::vector<std::uint32_t> characters_;  // by id; a token of one byte that goes on is bit 31
};

}  // namespace tokfrag
