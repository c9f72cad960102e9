// Where BERT's text may be cut: whatever stands between two of these places becomes the same ids
// wherever it stands.
#pragma once

#include <cstdint>

#include "core/isa.hpp"
#include "tokens/text/byte_runs.hpp"

namespace tokfrag {

// What ASCII bytes end a word: those that are space, and those that are words of their own.
struct PieceSets {
  AsciiSet spaces;
  AsciiSet alone;
};

// How far a text has been cut.
struct PieceScan {
  std::int64_t at = 0;
  // Of the two bytes before `at`: which are what. Bit 0 is the nearer one.
  unsigned spaces = 0;
  unsigned alone = 0;
  unsigned words = 0;
};

struct PieceEnds {
  // Writes the ends of the next pieces to `ends`, of which there must be room for kRoom and more;
  // returns how many, 0 after the last. A piece is a run of two spaces and more; or a byte that is
  // a word of its own, or a run of all other bytes, with one space before it if there is one. What
  // spaces the text ends with may be in no piece.
  std::int64_t (*next)(const PieceSets& sets, const std::uint8_t* text, std::int64_t size,
                       PieceScan* scan, std::int64_t* ends, std::int64_t capacity);
  static constexpr std::int64_t kRoom = 64;
};

TOKFRAG_ISA_TABLE(PieceEnds, piece_ends_table, piece_ends)

}  // namespace tokfrag
