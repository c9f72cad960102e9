// The classes of characters beyond ASCII in a block of 64 bytes, a bit a byte.
//
// Internal linkage: every instruction set compiles its own.
#pragma once

#include <cstdint>

#include "tokens/scan/kinds.hpp"
#include "tokens/text/byte_block.hpp"
#include "tokens/text/unicode_tables.hpp"

namespace tokfrag {

namespace {

using Bits = std::uint64_t;

inline int lowest(Bits bits) { return __builtin_ctzll(bits); }

// The lowest bit, or anything where there is none.
inline int lowest_or_any(Bits bits) {
#if defined(__BMI__)
  return static_cast<int>(_tzcnt_u64(bits));
#else
  return lowest(bits | Bits{1} << 63);
#endif
}

// The classes of characters beyond ASCII, as three planes of bits: a class is a number of three
// bits.
struct WideClasses {
  Bits planes[3] = {};
  Bits all = 0;     // bytes that the planes speak of
  Bits inside = 0;  // of them, those that are not the first of a character
  Bits odd = 0;     // first bytes of odd characters

  // The next ones where nothing is set apart.
  Bits upper() const { return planes[0] & ~(planes[1] | planes[2]); }
  Bits lower() const { return planes[1] & ~(planes[0] | planes[2]); }
  Bits caseless() const { return planes[0] & planes[1]; }
  Bits letter() const { return (planes[0] | planes[1]) & ~planes[2]; }
  Bits mark() const { return planes[2] & ~(planes[0] | planes[1]); }
  Bits number() const { return planes[2] & planes[0]; }
  Bits space() const { return planes[2] & planes[1]; }
  Bits other() const { return all & ~(planes[0] | planes[1] | planes[2]); }
  static_assert(kOther == 0 && kUpper == 1 && kLower == 2 && kLetter == 3 && kMark == 4 &&
                kNumber == 5 && kSpace == 6);

  // Of any class, kApart too.
  Bits of(CharClass kind) const {
    Bits bits = all;
    for (int i = 0; i < 3; ++i) bits &= (kind >> i & 1) != 0 ? planes[i] : ~planes[i];
    return bits;
  }

  void add(CharClass kind, Bits whole, Bits first) {
    for (int i = 0; i < 3; ++i) planes[i] |= (kind >> i & 1) != 0 ? whole : 0;
    all |= whole;
    inside |= whole & ~first;
  }
};

// Whether some characters of two and three bytes, otherwise whole, are overlong or surrogates.
inline bool holds_ill_formed(const ByteBlock& block, Bits two, Bits three) {
  const Bits overlong = two & block.either(0xC0, 0xC1);
  const Bits suspect = three & block.either(0xE0, 0xED);
  if ((overlong | suspect) == 0) return false;
  const Bits late = block.in(0xA0, 0x20) >> 1;  // what E0 wants as its second byte, and ED not
  return (overlong | (suspect & (block.equal(0xE0) ^ late))) != 0;
}

// Reads the characters of two and three bytes that begin at `two` and `three`, all well-formed and
// within the 64 bytes at `text`.
template <PatternFamily family>
inline void read_two_and_three(const std::uint8_t* text, Bits two, Bits three, WideClasses* wide) {
  alignas(64) std::uint8_t kinds[64] = {};
  // What the marks of lead and continuation bytes add up to goes off in one subtraction.
  for (Bits bits = two; bits != 0; bits &= bits - 1) {
    const int at = lowest(bits);
    const std::uint8_t* p = text + at;
    kinds[at] = kind_of<family>((std::uint32_t{p[0]} << 6) + p[1] - ((0xC0u << 6) + 0x80u));
  }
  for (Bits bits = three; bits != 0; bits &= bits - 1) {
    const int at = lowest(bits);
    const std::uint8_t* p = text + at;
    kinds[at] = kind_of<family>((std::uint32_t{p[0]} << 12) + (std::uint32_t{p[1]} << 6) + p[2] -
                                ((0xE0u << 12) + (0x80u << 6) + 0x80u));
  }
  const ByteBlock block(kinds);
  const auto spread = [&](Bits first) { return first | first << 1 | (first & three) << 2; };
  for (int i = 0; i < 3; ++i) wide->planes[i] |= spread(block.bit(i));
  wide->odd |= block.bit(3);
  wide->all |= spread(two | three);
  wide->inside |= spread(two | three) & ~(two | three);
}

}  // namespace

}  // namespace tokfrag
