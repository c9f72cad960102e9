// The classes of characters beyond ASCII in a block of 64 bytes, a bit a byte.
//
// Internal linkage: every instruction set compiles its own.
#pragma once

#include <cstdint>

#include "tokens/scan/kinds.hpp"
#include "tokens/text/unicode_tables.hpp"

namespace tokfrag {

namespace {

using Bits = std::uint64_t;

inline int lowest(Bits bits) { return __builtin_ctzll(bits); }

// The classes of characters beyond ASCII, as three planes of bits: a class is a number of three
// bits.
struct WideClasses {
  Bits planes[3] = {};
  Bits all = 0;     // bytes that the planes speak of
  Bits inside = 0;  // of them, those that are not the first of a character
  Bits odd = 0;     // first bytes of odd characters

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

// Reads the characters of two and three bytes that begin at `two` and `three`, all well-formed.
template <PatternFamily family>
inline void read_two_and_three(const std::uint8_t* text, Bits two, Bits three, WideClasses* wide) {
  Bits low = 0;
  Bits middle = 0;
  Bits high = 0;
  const auto put = [&](int at, std::uint32_t code_point) {
    const auto kind = static_cast<Bits>(kind_of<family>(code_point));
    low |= (kind & 1) << at;
    middle |= (kind >> 1 & 1) << at;
    high |= (kind >> 2 & 1) << at;
    wide->odd |= (kind >> 3 & 1) << at;
  };
  for (Bits bits = two; bits != 0; bits &= bits - 1) {
    const int at = lowest(bits);
    const std::uint8_t* p = text + at;
    put(at, (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu));
  }
  for (Bits bits = three; bits != 0; bits &= bits - 1) {
    const int at = lowest(bits);
    const std::uint8_t* p = text + at;
    put(at, (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu));
  }
  const auto spread = [&](Bits first) { return first | first << 1 | (first & three) << 2; };
  wide->planes[0] |= spread(low);
  wide->planes[1] |= spread(middle);
  wide->planes[2] |= spread(high);
  wide->all |= spread(two | three);
  wide->inside |= spread(two | three) & ~(two | three);
}

}  // namespace

}  // namespace tokfrag
