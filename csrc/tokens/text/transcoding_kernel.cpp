// UTF-8 from code units: ASCII in blocks; other characters one by one, without a branch on how
// many bytes they take.

#include "tokens/text/transcoding.hpp"

#include <cstdint>
#include <cstring>

#include "tokens/text/unit_block.hpp"

namespace tokfrag {

namespace {

// A character below U+10000 that is no surrogate; writes four bytes, of which up to three count.
std::uint8_t* put_narrow(std::uint32_t c, std::uint8_t* out) {
  const std::uint32_t two = 0x80C0u | c >> 6 | (c & 0x3F) << 8;
  const std::uint32_t three = 0x8080E0u | c >> 12 | (c & 0xFC0) << 2 | (c & 0x3F) << 16;
  const std::uint32_t bytes = c < 0x80 ? c : c < 0x800 ? two : three;
  std::memcpy(out, &bytes, 4);
  return out + 1 + (c >= 0x80) + (c >= 0x800);
}

std::uint8_t* put_astral(std::uint32_t c, std::uint8_t* out) {
  const auto tail = [&](int shift) {
    return static_cast<std::uint8_t>(0x80 | (c >> shift & 0x3F));
  };
  out[0] = static_cast<std::uint8_t>(0xF0 | c >> 18);
  out[1] = tail(12);
  out[2] = tail(6);
  out[3] = tail(0);
  return out + 4;
}

bool is_surrogate(std::uint32_t c) { return (c & 0xFFFFF800u) == 0xD800; }

// units[*at], which is a surrogate, or that and the one behind it.
template <class Unit>
std::uint8_t* put_surrogate(const Unit* units, std::int64_t count, std::int64_t* at,
                            std::uint8_t* out) {
  const std::uint32_t first = units[*at];
  const std::uint32_t second = *at + 1 < count ? units[*at + 1] : 0;
  if (first >= 0xDC00 || (second & 0xFFFFFC00u) != 0xDC00) return put_narrow(0xFFFD, out);
  ++*at;
  return put_astral(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00), out);
}

template <class Unit>
std::uint8_t* put_one(const Unit* units, std::int64_t count, std::int64_t* at, std::uint8_t* out) {
  const std::uint32_t c = units[*at];
  if (sizeof(Unit) > 2 && c >= 0x10000) return put_astral(c, out);
  if (sizeof(Unit) > 1 && __builtin_expect(is_surrogate(c), 0)) {
    return put_surrogate(units, count, at, out);
  }
  return put_narrow(c, out);
}

std::uint8_t* latin1(const std::uint8_t* units, std::int64_t count, std::uint8_t* out) {
  std::int64_t i = 0;
  while (i < count) {
    std::uint64_t eight = 0;
    if (count - i >= 8) {
      std::memcpy(&eight, units + i, 8);
      if ((eight & 0x8080808080808080ull) == 0) {
        std::memcpy(out, &eight, 8);
        out += 8;
        i += 8;
        continue;
      }
    }
    out = put_one(units, count, &i, out);
    ++i;
  }
  return out;
}

template <class Unit>
std::uint8_t* by_blocks(const Unit* units, std::int64_t count, std::uint8_t* out) {
  using Block = UnitBlock<Unit>;
  std::int64_t i = 0;
  while (i < count) {
    if (units[i] < 0x80 && count - i >= Block::kUnits) {
      const Block block(units + i);
      const std::uint32_t wide = block.wide();
      const int ascii = wide == 0 ? Block::kUnits : __builtin_ctz(wide);
      block.put(out);
      out += ascii;
      i += ascii;
      continue;
    }
    out = put_one(units, count, &i, out);
    ++i;
  }
  return out;
}

}  // namespace

namespace TOKFRAG_ISA {

extern const Transcoding transcoding = {&latin1, &by_blocks<std::uint16_t>,
                                        &by_blocks<std::uint32_t>};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
