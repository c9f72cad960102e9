// The block scanner: where pieces begin, by bit algebra on the classes of 64 bytes at a time.
//
// Every byte of a character carries the character's class, so that "the character before" is a
// shift by one. A place whose answer needs more than the two characters before it is a doubt: from
// the last piece before it on, the scalar scanner (advance.hpp) decides, up to a piece that ends in
// a letter, after which the algebra holds again. Each piece is scanned so at most once: linear.

#include <cstdint>
#include <cstring>

#include "tokens/scan/advance.hpp"
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
  Bits of[7];       // by CharClass
  Bits newline;     // \r \n
  Bits blank;       // ' '
  Bits apostrophe;  // '
  Bits slash;       // /
  Bits inside;      // not the first byte of a character
  Bits wide_space;  // first bytes of spaces and numbers beyond ASCII
  Bits wide_number;
};

template <PatternFamily family>
class BlockScanner {
 public:
  static constexpr PatternRules kRules = rules_of(family);

  explicit BlockScanner(ScanState* state) : state_(state), text_(state->text) {}

  std::int64_t scan(std::int64_t* ends, std::int64_t capacity) {
    ScanState& state = *state_;
    const std::int64_t size = state.size;
    std::int64_t count = 0;
    if (state.last == size) return 0;
    for (;;) {
      if (state.scalar) {
        while (state.scalar && count < capacity) count = step(ends, count);
        if (state.last == size || state.scalar) return count;
      }
      if (count + 72 > capacity) return count;
      count = drain(ends, count);
      if (state.scalar) continue;
      if (state.base + 64 >= size) {
        ends[count++] = size;
        state.last = size;
        return count;
      }
      state.base += 64;
      read_block();
    }
  }

 private:
  // One piece by the scalar scanner.
  std::int64_t step(std::int64_t* ends, std::int64_t count) {
    ScanState& state = *state_;
    const Advance<family> advance{text_, state.size};
    const std::int64_t end = advance(state.last);
    ends[count++] = end;
    state.last = end;
    if (end == state.size) {
      state.scalar = false;
    } else if (end > state.doubt) {
      // Nor inside or right before what may look like a contraction.
      state.scalar =
          !ends_in_letter(end) || text_[end] == '\'' || (end >= 2 && text_[end - 2] == '\'');
    }
    return count;
  }

  // Whether the character that ends at `end` is a letter.
  bool ends_in_letter(std::int64_t end) const {
    std::int64_t begin = end - 1;
    while (begin > 0 && end - begin < 4 && is_continuation(text_[begin])) --begin;
    const Char c = read_char(text_, state_->size, begin);
    return begin + c.length == end && is_letter(c.kind);
  }

  // Gives out the starts of the block at hand, up to a doubt.
  std::int64_t drain(std::int64_t* ends, std::int64_t count) {
    ScanState& state = *state_;
    const std::int64_t known = state.last - state.base;  // starts up to this bit are given out
    if (known >= 0) {
      state.starts &= known >= 63 ? 0 : ~Bits{0} << (known + 1);
      state.doubts &= known >= 64 ? 0 : ~Bits{0} << known;
    }
    const Bits ready =
        state.doubts == 0 ? state.starts : state.starts & bit_range(0, lowest(state.doubts));
    // Eight at a time, the last of them perhaps too many: how many there are is hard to foretell.
    std::int64_t* out = ends + count;
    for (Bits bits = ready; bits != 0;) {
      for (int i = 0; i < 8; ++i) {
        out[i] = state.base + lowest(bits | Bits{1} << 63);
        bits &= bits - 1;
      }
      out += 8;
    }
    out = ends + count + __builtin_popcountll(ready);
    if (ready != 0) state.last = out[-1];
    if (state.doubts != 0) {
      state.scalar = true;
      state.doubt = state.base + lowest(state.doubts);
    }
    return out - ends;
  }

  void read_block();
  Bits classify(Classes* classes);
  WideClasses classify_wide(const ByteBlock& block, Bits high);
  Bits next_char(Bits bits, Bits inside, Bits* carry) const;
  Bits number_starts(const Classes& classes, Bits first);
  Bits newline_cuts(Bits after_newline, Bits open, Bits newline) const;
  bool newline_after_spaces(std::int64_t position) const;
  void contractions(Bits candidates, Bits* set, Bits* clear);

  ScanState* state_;
  const std::uint8_t* text_;
};

// Fills in the classes of the block at state.base; returns the bits that are text.
template <PatternFamily family>
Bits BlockScanner<family>::classify(Classes* classes) {
  const std::int64_t left = state_->size - state_->base;
  const std::uint8_t* from = text_ + state_->base;
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
  classes->of[kLetter] = classes->of[kMark] = 0;
  classes->blank = block.equal(' ');
  classes->of[kSpace] = block.in('\t', 5) | classes->blank;
  classes->newline = block.equal('\n') | block.equal('\r');
  classes->apostrophe = block.equal('\'');
  classes->slash = kRules.slash_tail ? block.equal('/') : 0;
  classes->inside = classes->wide_space = classes->wide_number = 0;
  const Bits valid = left < 64 ? bit_range(0, static_cast<int>(left)) : ~Bits{0};
  const Bits high = block.high();
  classes->of[kOther] = valid & ~(letters | digits | classes->of[kSpace] | high);
  if ((high | static_cast<Bits>(state_->before.bytes)) != 0) {
    const WideClasses wide = classify_wide(block, high & valid);
    for (int kind = 0; kind < 7; ++kind) {
      classes->of[kind] |= wide.of(static_cast<CharClass>(kind));
    }
    classes->inside = wide.inside;
    classes->wide_space = wide.of(kSpace) & ~wide.inside;
    classes->wide_number = wide.of(kNumber) & ~wide.inside;
  }
  return valid;
}

// The characters beyond ASCII: the commonest letters all at once, the others one by one.
template <PatternFamily family>
WideClasses BlockScanner<family>::classify_wide(const ByteBlock& block, Bits high) {
  ScanState::Before& before = state_->before;
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
  wide.add(kLetter, caseless | caseless << 1 | caseless << 2, caseless);
  // U+0400 to U+042F and U+0430 to U+045F: Cyrillic capitals and small letters.
  const Bits first_half = block.equal(0xD0) & high;
  if (const Bits second_half = block.equal(0xD1) & high; (first_half | second_half) != 0) {
    const Bits capital = first_half & block.in(0x80, 0x30) >> 1;
    const Bits small =
        (first_half & block.in(0xB0, 0x10) >> 1) | (second_half & block.in(0x80, 0x20) >> 1);
    wide.add(kUpper, capital | capital << 1, capital);
    wide.add(kLower, small | small << 1, small);
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
    read_two_and_three(text_ + state_->base, two, three, &wide);
    return wide;
  }
  while (high != 0) {
    const int at = lowest(high);
    const Char c = read_char(text_, state_->size, state_->base + at);
    const Bits whole = bit_range(at, c.length);
    wide.add(c.kind, whole, Bits{1} << at);
    high &= ~whole;
    if (at + c.length > 64) {
      before.bytes = at + c.length - 64;
      before.kind = c.kind;
    }
  }
  return wide;
}

// Where the characters after those that begin at `bits` begin. `carry`: 1 where one of `bits` ends
// the block before; set to 1 where one ends this.
template <PatternFamily family>
Bits BlockScanner<family>::next_char(Bits bits, Bits inside, Bits* carry) const {
  Bits moving = bits << 1;
  Bits landed = moving & ~inside;
  Bits reach = bits;
  for (int i = 0; i < 3; ++i) {
    moving &= inside;
    reach |= moving;
    moving <<= 1;
    landed |= moving & ~inside;
  }
  if (*carry != 0) landed |= ~inside & (inside + 1);
  *carry = reach >> 63;
  return landed;
}

// \p{N}{1,n}: the starts within numbers, `first` being where numbers begin.
template <PatternFamily family>
Bits BlockScanner<family>::number_starts(const Classes& classes, Bits first) {
  const Bits number = classes.of[kNumber];
  if (kRules.max_digits == 0) return first;
  if (kRules.max_digits == 1) return number & ~classes.inside;
  static_assert(kRules.max_digits == 0 || kRules.max_digits == 1 || kRules.max_digits == 3,
                "how digits are grouped");
  ScanState::Before& before = state_->before;
  const auto back = [&](Bits bits, Bits old, int by) { return bits << by | old >> (64 - by); };
  const Bits goes_on = number & back(number, before.number, 1) & back(number, before.number, 2) &
                       back(number, before.number, 3);
  Bits starts = first;
  for (Bits fresh = back(first, before.number_starts, 3) & goes_on; fresh != 0;
       fresh = fresh << 3 & goes_on) {
    starts |= fresh;
  }
  before.number_starts = starts;
  return starts;
}

// Whether the spaces from `position` on, newlines left out, end in a newline (or, where trailing
// space is one piece, in the end of the text): they then belong to the piece before.
template <PatternFamily family>
bool BlockScanner<family>::newline_after_spaces(std::int64_t position) const {
  for (;;) {
    const Char c = read_char(text_, state_->size, position);
    if (c.length == 0) return kRules.trailing_space_first;
    if (c.kind != kSpace) return false;
    if (is_newline(text_[position])) return true;
    position += c.length;
  }
}

// \s*[\r\n]+: of the places after a newline where other space goes on, those where a piece begins.
template <PatternFamily family>
Bits BlockScanner<family>::newline_cuts(Bits after_newline, Bits open, Bits newline) const {
  const Bits run_ends = (after_newline + open) & ~open;
  const bool reaches_over = after_newline + open < open;
  if ((run_ends & newline) == 0 && !reaches_over &&
      (state_->base + 64 <= state_->size || !kRules.trailing_space_first)) {
    return after_newline;
  }
  Bits cuts = 0;
  for (Bits bits = after_newline; bits != 0; bits &= bits - 1) {
    if (!newline_after_spaces(state_->base + lowest(bits))) cuts |= bits & ~(bits - 1);
  }
  return cuts;
}

// Contractions at some apostrophes: starts they make and take away, here and in the next block.
template <PatternFamily family>
void BlockScanner<family>::contractions(Bits candidates, Bits* set, Bits* clear) {
  ScanState::Before& before = state_->before;
  const auto put = [&](int at, Bits* here, Bits* next) {
    if (at < 64) {
      *here |= Bits{1} << at;
    } else {
      *next |= Bits{1} << (at - 64);
    }
  };
  for (; candidates != 0; candidates &= candidates - 1) {
    const int at = lowest(candidates);
    const std::int64_t position = state_->base + at;
    const int length = contraction_length<family>(text_, state_->size, position);
    if (length == 0) continue;
    if constexpr (kRules.contraction == Contraction::kSuffix) {
      if (position == before.suffix_end) continue;  // the word before has had its suffix
      before.suffix_end = position + length;
      put(at, clear, &before.clear);
    }
    for (int i = 1; i < length; ++i) put(at + i, clear, &before.clear);
    put(at + length, set, &before.set);
  }
}

template <PatternFamily family>
void BlockScanner<family>::read_block() {
  ScanState& state = *state_;
  ScanState::Before& before = state.before;
  Classes classes;
  const Bits valid = classify(&classes);
  const Bits first_bytes = valid & ~classes.inside;
  Bits set = before.set;
  Bits clear = before.clear;
  before.set = before.clear = 0;

  const Bits mark = classes.of[kMark];
  const Bits upper = classes.of[kUpper];
  const Bits lower = classes.of[kLower];
  const Bits caseless = classes.of[kLetter] | (kRules.words_by_case ? mark : 0);
  const Bits letter = upper | lower | caseless;
  const Bits number = classes.of[kNumber];
  const Bits space = classes.of[kSpace];
  const Bits newline = classes.newline;
  const Bits open = space & ~newline;  // space that words may take as their prefix
  const Bits other = classes.of[kOther] | (kRules.words_by_case ? 0 : mark);
  const Bits after_letter = after(letter, before.letter);
  const Bits after_other = after(other, before.other);
  const Bits after_space = after(space, before.space);
  const Bits after_newline = after(newline, before.newline);
  const Bits after_blank = after(classes.blank, before.blank);
  const Bits after_number = after(number, before.number);

  // Punctuation takes a ' ' before it; its newlines go with it.
  const Bits other_starts = other & first_bytes & ~after_other & ~after_blank;
  Bits tail = 0;
  const Bits tail_before = before.tail;
  if constexpr (kRules.newline_tail) {
    const Bits tail_starts = newline & (after_other | tail_before >> 63);
    tail = (((newline + tail_starts) ^ newline) & newline) | tail_starts;
  }

  // Space: a run begins a piece, its last character another; a newline in it ends one.
  const bool at_end = state.base + 64 >= state.size;
  Bits space_goes_on = space >> 1;
  if (at_end) {
    space_goes_on |= ~(valid >> 1);
  } else {
    const Char c = read_char(text_, state.size, state.base + 64);
    space_goes_on |= static_cast<Bits>(before.bytes == 0 && c.kind == kSpace) << 63;
  }
  Bits space_starts = space & ~after_space & ~tail;
  if constexpr (kRules.newline_piece) {
    space_starts |= open & ~space_goes_on;
    const Bits after_tail = open & after(tail, tail_before);
    const Bits cuts = open & after_newline & ~after_tail;
    space_starts |= after_tail;
    if (cuts != 0) space_starts |= newline_cuts(cuts, open, newline);
  } else {
    space_starts |= space & ~space_goes_on;
  }

  // Words take a space or one punctuation character before them.
  Bits lone = 0;
  Bits letter_starts = letter & first_bytes & ~after_letter;
  if constexpr (kRules.any_prefix) {
    const Bits after_open = after_space & ~after_newline;
    Bits carry = before.lone_other;
    lone = next_char(other_starts, classes.inside, &carry);
    before.lone_other = carry;
    letter_starts &= ~(after_open | lone);
  } else {
    letter_starts &= ~after_blank;
  }
  if constexpr (kRules.words_by_case) {
    letter_starts |= upper & first_bytes & after(lower, before.lower);
  }

  Bits number_first = number & first_bytes & ~after_number;
  if constexpr (kRules.number_prefix) number_first &= ~after_blank;

  if (classes.apostrophe != 0) {
    const Bits candidates = kRules.contraction == Contraction::kSuffix
                                ? classes.apostrophe & after_letter
                                : classes.apostrophe & other_starts;
    contractions(candidates, &set, &clear);
  }

  state.starts =
      ((letter_starts | number_starts(classes, number_first) | other_starts | space_starts) &
       first_bytes & ~clear) |
      (set & valid);

  Bits doubts = classes.wide_space;
  if constexpr (kRules.max_digits > 1) doubts |= classes.wide_number;
  if constexpr (kRules.words_by_case) {
    doubts |= upper & first_bytes & after(caseless, before.caseless);
    doubts |= mark & first_bytes & after_other;
  }
  if constexpr (kRules.slash_tail) doubts |= classes.slash & after(tail, tail_before);
  state.doubts = doubts;

  before.letter = letter;
  before.lower = lower;
  before.caseless = caseless;
  before.number = number;
  before.space = space;
  before.newline = newline;
  before.blank = classes.blank;
  before.other = other;
  before.tail = tail;
}

template <PatternFamily family>
std::int64_t scan(ScanState* state, std::int64_t* ends, std::int64_t capacity) {
  return BlockScanner<family>(state).scan(ends, capacity);
}

}  // namespace

namespace TOKFRAG_ISA {

extern const ScannerTable scanner_table = {{
    &scan<PatternFamily::kGpt2>,
    &scan<PatternFamily::kCl100k>,
    &scan<PatternFamily::kO200k>,
    &scan<PatternFamily::kLlama3>,
    &scan<PatternFamily::kQwen2>,
}};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
