// Spans in bytes of a UTF-8 text to spans in its characters.
#pragma once

#include <cstdint>

#include "core/isa.hpp"

namespace tokfrag {

// Sixty-four bytes of a text.
struct LeadBlock {
  std::uint64_t leads;  // a bit a byte: a character begins there
  std::int64_t before;  // how many begin before the block
};

struct CharacterSpans {
  // Describes blocks [from, to) of the text by `blocks`, which has size / 64 + 1 in all; those
  // before `from` are described already. What is behind the text begins no character.
  void (*describe)(const std::uint8_t* text, std::int64_t size, std::int64_t from, std::int64_t to,
                   LeadBlock* blocks);
  // Writes spans (count, 2) in bytes as spans in characters to `out`: the begin is that of the
  // character it lies in, the end is after the character that the byte before it lies in. False: a
  // place is outside the text. `out` may be `spans`.
  bool (*convert)(const LeadBlock* blocks, std::int64_t size, const std::int64_t* spans,
                  std::int64_t count, std::int64_t* out);
};

TOKFRAG_ISA_TABLE(CharacterSpans, character_spans_table, character_spans)

}  // namespace tokfrag
