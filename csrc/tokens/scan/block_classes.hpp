// The classes of 64 bytes of text, as a pattern sees its characters: a bit a byte.
//
// Internal linkage: every instruction set compiles its own.
#pragma once

#include <cstdint>
#include <cstring>

#include "tokens/scan/kinds.hpp"
#include "tokens/scan/patterns.hpp"
#include "tokens/scan/scanner.hpp"
#include "tokens/scan/wide_classes.hpp"
#include "tokens/text/byte_block.hpp"
#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

// Bits up by one, with the top bit of the block before.
inline Bits after(Bits bits, Bits before) { return bits << 1 | before >> 63; }

inline Bits bit_range(int begin, int count) {
  return (count >= 64 ? ~Bits{0} : (Bits{1} << count) - 1) << begin;
}

// The classes of a block: a bit a byte.
struct Classes {
  Bits of[8];       // by CharClass, and kApart
  Bits newline;     // \r \n
  Bits blank;       // ' '
  Bits apostrophe;  // '
  Bits slash;       // /
  Bits inside;      // not the first byte of a character
  Bits high;        // of a character beyond ASCII
  Bits wide_space;  // first bytes of spaces and numbers beyond ASCII
  Bits wide_number;
  Bits odd;      // first bytes of odd characters
  Bits numeric;  // bytes that stand for numbers
};

// The commonest of the characters set apart among those of three well-formed bytes.
template <PatternFamily family>
Bits fast_apart(const ByteBlock& block, Bits first_of_three) {
  constexpr PatternRules kRules = rules_of(family);
  // U+5000 to U+8FFF whole, U+4E00 on, and from U+9000 what is surely there: up to U+9F7F.
  Bits apart = block.in(0xE5, 4) | (block.equal(0xE4) & block.in(0xB8, 8) >> 1) |
               (block.equal(0xE9) & block.in(0x80, 0x3E) >> 1);
  if constexpr (kRules.apart == Apart::kChinese) {
    // U+3040 to U+30FF, but for those that are no letters there.
    if (const Bits kana = block.equal(0xE3) & block.in(0x81, 3) >> 1; kana != 0) {
      const Bits odd = (block.equal(0x81) >> 1 & block.equal(0x80) >> 2) |
                       (block.equal(0x83) >> 1 & block.equal(0xBB) >> 2) |
                       (block.equal(0x82) >> 1 &
                        (block.in(0x97, 2) | block.in(0x9B, 2) | block.equal(0xA0)) >> 2);
      apart |= kana & ~odd;
    }
  }
  return apart & first_of_three;
}

// The characters beyond ASCII: the commonest letters all at once, the others one by one.
template <PatternFamily family>
WideClasses classify_wide(ScanState* state, const ByteBlock& block, Bits high) {
  constexpr PatternRules kRules = rules_of(family);
  ScanState::Before& before = state->before;
  WideClasses wide;
  if (before.bytes != 0) {
    const Bits rest = bit_range(0, before.bytes);
    wide.add(static_cast<CharClass>(before.kind), rest, 0);
    high &= ~rest;
    before.bytes = 0;
  }
  const Bits continuation = block.in(0x80, 0x40);
  // U+4000 to U+9FFF but for U+4DC0 to U+4DFF, and U+B000 to U+CFFF: letters without case.
  const Bits caseless = (block.in(0xE4, 6) | block.in(0xEB, 2)) & continuation >> 1 &
                        continuation >> 2 & high & ~(block.equal(0xE4) & block.equal(0xB7) >> 1);
  // A letter as the pattern sees it.
  const auto as_seen = [&](CharClass kind) {
    if (!kRules.space_alone) return kind;
    return kRules.apart == Apart::kWords ? kApart : kOther;
  };
  const auto add_three = [&](CharClass kind, Bits first) {
    wide.add(kind, first | first << 1 | first << 2, first);
  };
  if constexpr (kRules.apart == Apart::kHan || kRules.apart == Apart::kChinese) {
    const Bits well_formed = continuation >> 1 & continuation >> 2 & high;
    const Bits apart = fast_apart<family>(block, well_formed);
    add_three(kApart, apart);
    add_three(kLetter, caseless & block.in(0xEB, 2));
  } else {
    add_three(as_seen(kLetter), caseless);
  }
  // U+0400 to U+042F and U+0430 to U+045F: Cyrillic capitals and small letters.
  const Bits first_half = block.equal(0xD0) & high;
  if (const Bits second_half = block.equal(0xD1) & high; (first_half | second_half) != 0) {
    const Bits capital = first_half & block.in(0x80, 0x30) >> 1;
    const Bits small =
        (first_half & block.in(0xB0, 0x10) >> 1) | (second_half & block.in(0x80, 0x20) >> 1);
    wide.add(as_seen(kUpper), capital | capital << 1, capital);
    wide.add(as_seen(kLower), small | small << 1, small);
  }
  high &= ~wide.all;
  if (high == 0) return wide;

  // What is left is read in one go where it is well-formed, and ends in this block.
  Bits two = block.in(0xC2, 30) & high;
  Bits three = block.in(0xE0, 16) & high;
  const Bits inner = two << 1 | three << 1 | three << 2;
  const Bits overlong = three & block.equal(0xE0) & block.in(0x80, 0x20) >> 1;
  const Bits surrogate = three & block.equal(0xED) & block.in(0xA0, 0x20) >> 1;
  const Bits crossing = (two & Bits{1} << 63) | (three & Bits{3} << 62);
  if ((two | three | inner) == high && (inner & ~continuation) == 0 &&
      (overlong | surrogate) == 0 && crossing == 0) {
    read_two_and_three<family>(state->text + state->base, two, three, &wide);
    return wide;
  }
  while (high != 0) {
    const int at = lowest(high);
    const Char c = read_kind<family>(state->text, state->size, state->base + at);
    const CharClass kind = class_of_kind(c.kind);
    const Bits whole = bit_range(at, c.length);
    wide.add(kind, whole, Bits{1} << at);
    if (is_odd(c.kind)) wide.odd |= Bits{1} << at;
    high &= ~whole;
    if (at + c.length > 64) {
      before.bytes = at + c.length - 64;
      before.kind = kind;
    }
  }
  return wide;
}

// Fills in the classes of the block at state.base; returns the bits that are text.
template <PatternFamily family>
Bits classify_block(ScanState* state, Classes* classes) {
  constexpr PatternRules kRules = rules_of(family);
  const std::int64_t left = state->size - state->base;
  const std::uint8_t* from = state->text + state->base;
  std::uint8_t tail[64] = {};
  if (left < 64) {
    std::memcpy(tail, from, static_cast<std::size_t>(left));
    from = tail;
  }
  const ByteBlock block(from);
  const Bits letters = block.folded_in('a', 26);
  const Bits digits = block.in('0', 10);
  classes->of[kUpper] = kRules.words_by_case ? block.in('A', 26) : 0;
  classes->of[kLower] = letters & ~classes->of[kUpper];
  classes->of[kNumber] = digits;
  classes->of[kLetter] = classes->of[kMark] = classes->of[kApart] = 0;
  classes->blank = block.equal(' ');
  classes->of[kSpace] = block.in('\t', 5) | classes->blank;
  classes->newline = block.equal('\n') | block.equal('\r');
  classes->apostrophe = block.equal('\'');
  classes->slash = kRules.slash_tail ? block.equal('/') : 0;
  classes->inside = classes->wide_space = classes->wide_number = 0;
  const Bits valid = left < 64 ? bit_range(0, static_cast<int>(left)) : ~Bits{0};
  const Bits high = classes->high = block.high();
  classes->of[kOther] = valid & ~(letters | digits | classes->of[kSpace] | high);
  classes->odd = 0;
  if constexpr (kRules.space_alone) {
    const Bits words = letters | digits | block.equal('_');
    classes->of[kUpper] = classes->of[kLower] = classes->of[kNumber] = 0;
    classes->of[kApart] = kRules.apart == Apart::kWords ? words : 0;
    classes->of[kOther] |= kRules.apart == Apart::kWords ? 0 : words;
    if (kRules.apart == Apart::kWords) classes->of[kOther] &= ~words;
    if (kRules.apart == Apart::kPunctuation) {
      classes->of[kApart] = block.in('!', 0x7E - 0x20) & ~(letters | digits);
      classes->of[kOther] &= ~classes->of[kApart];
    }
  } else if constexpr (kRules.apart == Apart::kPunctuation) {
    classes->of[kApart] = classes->of[kOther] & block.in('!', 0x7E - 0x20);
    classes->of[kOther] &= ~classes->of[kApart];
  }
  if constexpr (kRules.punctuation_before_ascii) {
    classes->odd = classes->of[kOther] & ~block.in('!', 0x7E - 0x20);
  }
  if constexpr (kRules.numeric_bytes) {
    classes->numeric = digits | block.in(0xB2, 2) | block.equal(0xB9) | block.in(0xBC, 3);
    classes->numeric &= valid;
  }
  if ((high | static_cast<Bits>(state->before.bytes)) != 0) {
    const WideClasses wide = classify_wide<family>(state, block, high & valid);
    constexpr int kKinds = kRules.apart == Apart::kNothing ? 7 : 8;
    for (int kind = 0; kind < kKinds; ++kind) {
      classes->of[kind] |= wide.of(static_cast<CharClass>(kind));
    }
    classes->inside = wide.inside;
    classes->wide_space = wide.of(kSpace) & ~wide.inside;
    classes->wide_number = wide.of(kNumber) & ~wide.inside;
    classes->odd |= wide.odd;
  }
  return valid;
}

}  // namespace

}  // namespace tokfrag
