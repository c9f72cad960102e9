// The classes of 64 bytes of text, as a pattern sees its characters: a bit a byte.
//
// Internal linkage: every instruction set compiles its own.
#pragma once

#include <cstdint>

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
  const Bits lead = high & block.bit(6);
  const Bits continuation = block.high() & ~block.bit(6);
  const Bits before_two = continuation >> 1 & continuation >> 2 & lead;
  // U+4000 to U+9FFF but for U+4DC0 to U+4DFF, and U+B000 to U+CFFF: letters without case.
  const Bits caseless = block.in(0xE4, 9) & before_two &
                        ~(block.equal(0xEA) | (block.equal(0xE4) & block.equal(0xB7) >> 1));
  // A letter as the pattern sees it.
  const auto as_seen = [&](CharClass kind) {
    if (!kRules.space_alone) return kind;
    return kRules.apart == Apart::kWords ? kApart : kOther;
  };
  const auto add_three = [&](CharClass kind, Bits first) {
    wide.add(kind, first | first << 1 | first << 2, first);
  };
  if constexpr (kRules.apart == Apart::kHan || kRules.apart == Apart::kChinese) {
    add_three(kApart, fast_apart<family>(block, before_two));
    add_three(kLetter, caseless & block.in(0xEB, 2));
  } else {
    add_three(as_seen(kLetter), caseless);
  }
  // U+0400 to U+047F: Cyrillic letters, U+0400 to U+042F capital and up to U+045F small.
  if (const Bits cyrillic = block.either(0xD0, 0xD1) & lead & continuation >> 1; cyrillic != 0) {
    if constexpr (kRules.words_by_case) {
      const Bits first_half = block.equal(0xD0) & cyrillic;
      const Bits capital = first_half & block.in(0x80, 0x30) >> 1;
      const Bits small =
          (first_half & ~capital) | (cyrillic & ~first_half & block.in(0x80, 0x20) >> 1);
      wide.add(as_seen(kUpper), capital | capital << 1, capital);
      wide.add(as_seen(kLower), small | small << 1, small);
    } else {
      wide.add(as_seen(kLetter), cyrillic | cyrillic << 1, cyrillic);
    }
  }
  high &= ~wide.all;
  if (high == 0) return wide;

  const auto read_one = [&](int at) {
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
  };
  // Characters of four bytes, and what may lie over the edge, by themselves.
  const Bits long_lead = lead & block.bit(5);
  const Bits four = long_lead & block.bit(4);
  const Bits edge = (lead & Bits{1} << 63) | (long_lead & Bits{1} << 62);
  for (Bits alone = (four | edge) & high; alone != 0; alone &= high & (alone - 1)) {
    read_one(lowest(alone));
  }
  if (high == 0) return wide;
  // What is left is read in one go where it is well-formed.
  const Bits two = lead & ~long_lead & high;
  const Bits three = long_lead & ~four & high;
  const Bits inner = two << 1 | three << 1 | three << 2;
  if ((two | three | inner) == high && (inner & ~continuation) == 0 &&
      !holds_ill_formed(block, two, three)) {
    read_two_and_three<family>(state->text + state->base, two, three, &wide);
    return wide;
  }
  while (high != 0) read_one(lowest(high));
  return wide;
}

// Fills in the classes of the block at hand, `valid` of whose bits are text. kWide: some of its
// characters, those of `high`, are beyond ASCII, or may be.
template <PatternFamily family, bool kWide>
void classify_block(ScanState* state, const ByteBlock& block, Bits valid, Bits high,
                    Classes* classes) {
  constexpr PatternRules kRules = rules_of(family);
  const Bits letters = block.folded_in('a', 26);
  const Bits digits = block.in('0', 10);
  classes->of[kUpper] = kRules.words_by_case ? block.in('A', 26) : 0;
  classes->of[kLower] = letters & ~classes->of[kUpper];
  classes->of[kNumber] = digits;
  classes->of[kLetter] = classes->of[kMark] = classes->of[kApart] = 0;
  classes->blank = block.equal(' ');
  classes->of[kSpace] = block.in('\t', 5) | classes->blank;
  classes->newline = block.either('\n', '\r');
  classes->apostrophe = block.equal('\'');
  classes->slash = kRules.slash_tail ? block.equal('/') : 0;
  classes->inside = classes->wide_space = classes->wide_number = 0;
  classes->high = high;
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
  if constexpr (kWide) {
    const WideClasses wide = classify_wide<family>(state, block, high & valid);
    if constexpr (kRules.apart != Apart::kNothing) {
      for (int kind = 0; kind < 8; ++kind) {
        classes->of[kind] |= wide.of(static_cast<CharClass>(kind));
      }
    } else {
      if constexpr (kRules.words_by_case) {
        classes->of[kUpper] |= wide.upper();
        classes->of[kLower] |= wide.lower();
        classes->of[kLetter] = wide.caseless();
      } else {
        classes->of[kLetter] = wide.letter();
      }
      classes->of[kMark] = wide.mark();
      classes->of[kNumber] |= wide.number();
      classes->of[kSpace] |= wide.space();
      classes->of[kOther] |= wide.other();
    }
    classes->inside = wide.inside;
    classes->wide_space = wide.of(kSpace) & ~wide.inside;
    classes->wide_number = wide.of(kNumber) & ~wide.inside;
    classes->odd |= wide.odd;
  }
}

}  // namespace

}  // namespace tokfrag
