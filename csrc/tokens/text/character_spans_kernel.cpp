#include "tokens/text/character_spans.hpp"

#include <algorithm>
#include <cstring>

#include "tokens/text/byte_block.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kBlock = 64;

std::uint64_t leads_of(const std::uint8_t* bytes) {
  const ByteBlock block(bytes);
  return ~(block.high() & ~block.bit(6));
}

void describe(const std::uint8_t* text, std::int64_t size, std::int64_t from, std::int64_t to,
              LeadBlock* blocks) {
  std::int64_t before =
      from == 0 ? 0 : blocks[from - 1].before + __builtin_popcountll(blocks[from - 1].leads);
  for (std::int64_t i = from; i < to; ++i) {
    const std::int64_t left = size - kBlock * i;
    if (left >= kBlock) {
      blocks[i].leads = leads_of(text + kBlock * i);
    } else {
      std::uint8_t last[kBlock];
      std::memset(last, 0x80, sizeof last);
      if (left > 0) std::memcpy(last, text + kBlock * i, static_cast<std::size_t>(left));
      blocks[i].leads = leads_of(last);
    }
    blocks[i].before = before;
    before += __builtin_popcountll(blocks[i].leads);
  }
}

// How many characters begin before a place.
std::int64_t count_before(const LeadBlock* blocks, std::int64_t place) {
  const LeadBlock& block = blocks[place / kBlock];
  const std::uint64_t earlier = (std::uint64_t{1} << (place % kBlock)) - 1;
  return block.before + __builtin_popcountll(block.leads & earlier);
}

bool convert(const LeadBlock* blocks, std::int64_t size, const std::int64_t* spans,
             std::int64_t count, std::int64_t* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t begin = spans[2 * i];
    const std::int64_t end = spans[2 * i + 1];
    if (begin < 0 || begin > size || end < 0 || end > size) return false;
    const std::int64_t begun = count_before(blocks, std::min(begin + 1, size));
    out[2 * i] = std::max(begun - 1, std::int64_t{0});
    out[2 * i + 1] = count_before(blocks, end);
  }
  return true;
}

}  // namespace

namespace TOKFRAG_ISA {

extern const CharacterSpans character_spans_table = {&describe, &convert};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
