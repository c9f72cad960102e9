// The block scanner: where pieces begin, by bit algebra on the classes of 64 bytes at a time.
//
// Every byte of a character carries the character's class, so that "the character before" is a
// shift by one. A place whose answer needs more than the two characters before it is a doubt: from
// the last piece before it on, the scalar scanner (advance.hpp) decides, up to a piece that ends in
// a letter, after which the algebra holds again. Each piece is scanned so at most once: linear.

#include <cstdint>
#include <cstring>

#include "tokens/scan/advance.hpp"
#include "tokens/scan/block_classes.hpp"
#include "tokens/scan/patterns.hpp"
#include "tokens/scan/scanner.hpp"
#include "tokens/text/byte_block.hpp"
#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

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
        out[i] = state.base + lowest_or_any(bits);
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
  // kWide: some characters are beyond ASCII, or may be.
  template <bool kWide>
  void find_starts(const ByteBlock& block, Bits valid, Bits high);
  Bits next_char(Bits bits, Bits inside, Bits* carry) const;
  Bits number_starts(const Classes& classes, Bits number, Bits old, Bits first);
  Bits words_after_punctuation(Bits punctuation, Bits letter, Bits high, Bits* starts);
  Bits byte_starts(const Classes& classes);
  Bits newline_cuts(Bits after_newline, Bits open, Bits newline) const;
  bool newline_after_spaces(std::int64_t position) const;
  void contractions(Bits candidates, Bits* set, Bits* clear);

  ScanState* state_;
  const std::uint8_t* text_;
};

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
Bits BlockScanner<family>::number_starts(const Classes& classes, Bits number, Bits old,
                                         Bits first) {
  if (kRules.max_digits == 0 && !kRules.numeric_bytes) return first;
  if (kRules.max_digits == 1) return number & ~classes.inside;
  static_assert(kRules.max_digits == 0 || kRules.max_digits == 1 || kRules.max_digits == 3,
                "how digits are grouped");
  ScanState::Before& before = state_->before;
  const auto back = [&](Bits bits, Bits early, int by) { return bits << by | early >> (64 - by); };
  const Bits goes_on = number & back(number, old, 1) & back(number, old, 2) & back(number, old, 3);
  Bits starts = first;
  for (Bits fresh = back(first, before.number_starts, 3) & goes_on; fresh != 0;
       fresh = fresh << 3 & goes_on) {
    starts |= fresh;
  }
  before.number_starts = starts;
  return starts;
}

// Words of ASCII letters that take the ASCII punctuation before them, which begins at `punctuation`
// and is no more than one: their bytes, and in `starts` where other letters go on behind them.
template <PatternFamily family>
Bits BlockScanner<family>::words_after_punctuation(Bits punctuation, Bits letter, Bits high,
                                                   Bits* starts) {
  ScanState::Before& before = state_->before;
  const Bits ascii = letter & ~high;
  const Bits taken = ascii & after(punctuation, before.lone_other);
  const Bits seeds = taken | (ascii & before.prefixed >> 63);
  const Bits words = (((ascii + seeds) ^ ascii) & ascii) | seeds;
  *starts = letter & high & after(words, before.prefixed);
  before.lone_other = punctuation;
  before.prefixed = words;
  return taken;
}

// Where numeric bytes begin and end, and every three digits of them.
template <PatternFamily family>
Bits BlockScanner<family>::byte_starts(const Classes& classes) {
  ScanState::Before& before = state_->before;
  const Bits turns = classes.numeric ^ after(classes.numeric, before.numeric);
  const Bits digits = classes.numeric & ~classes.high;
  const Bits first = digits & ~after(digits, before.digits);
  const Bits starts = turns | number_starts(classes, digits, before.digits, first);
  // Before how many digits a byte stands that is none is for the scalar scanner to see.
  state_->doubts |= digits & after(classes.numeric & classes.high, before.numeric & ~before.digits);
  before.numeric = classes.numeric;
  before.digits = digits;
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
  const std::int64_t left = state_->size - state_->base;
  const std::uint8_t* from = text_ + state_->base;
  std::uint8_t tail[64] = {};
  Bits valid = ~Bits{0};
  if (left < 64) {
    std::memcpy(tail, from, static_cast<std::size_t>(left));
    from = tail;
    valid = bit_range(0, static_cast<int>(left));
  }
  const ByteBlock block(from);
  const Bits high = block.high();
  if ((high | static_cast<Bits>(state_->before.bytes)) != 0) {
    find_starts<true>(block, valid, high);
  } else {
    find_starts<false>(block, valid, high);
  }
}

template <PatternFamily family>
template <bool kWide>
void BlockScanner<family>::find_starts(const ByteBlock& block, Bits valid, Bits high) {
  ScanState& state = *state_;
  ScanState::Before& before = state.before;
  Classes classes;
  classify_block<family, kWide>(state_, block, valid, high, &classes);
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
  const Bits after_blank = kRules.blank_prefix ? after(classes.blank, before.blank) : 0;
  const Bits after_number = after(number, before.number);
  const Bits apart = classes.of[kApart];

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
    const std::uint8_t byte = text_[state.base + 64];
    bool goes_on = byte == ' ' || static_cast<std::uint8_t>(byte - '\t') < 5;
    constexpr bool kOthersEndSpace = kRules.numbers_first || kRules.apart_ends_space();
    if (kOthersEndSpace || (byte >= 0x80 && before.bytes == 0)) {
      const Char c = read_kind<family>(text_, state.size, state.base + 64);
      goes_on = before.bytes == 0 && (c.kind == kSpace || ends_space<family>(c.kind));
    }
    space_goes_on |= static_cast<Bits>(goes_on) << 63;
  }
  if constexpr (kRules.numbers_first) space_goes_on |= number >> 1;
  if constexpr (kRules.apart_ends_space()) space_goes_on |= apart >> 1;
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
  if constexpr (kRules.punctuation_before_ascii) {
    Bits behind = 0;
    const Bits taken =
        words_after_punctuation(other_starts & ~classes.high, letter, classes.high, &behind);
    letter_starts &= ~((after_space & ~after_newline) | taken);
    letter_starts |= behind & first_bytes;
  } else if constexpr (kRules.any_prefix) {
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

  if (kRules.contraction != Contraction::kNone && classes.apostrophe != 0) {
    const Bits candidates = kRules.contraction == Contraction::kSuffix
                                ? classes.apostrophe & after_letter
                                : classes.apostrophe & other_starts;
    contractions(candidates, &set, &clear);
  }

  Bits starts = letter_starts | other_starts | space_starts;
  if constexpr (kRules.numeric_bytes) {
    starts |= number_first;
  } else {
    starts |= number_starts(classes, number, before.number, number_first);
  }
  if constexpr (kRules.apart != Apart::kNothing) {
    starts |= kRules.apart_single ? apart : apart & ~after(apart, before.apart);
  }
  state.starts = (starts & first_bytes & ~clear) | (set & valid);

  Bits doubts = classes.wide_space | classes.odd;
  if constexpr (kRules.max_digits > 1) doubts |= classes.wide_number;
  if constexpr (kRules.words_by_case) {
    doubts |= upper & first_bytes & after(caseless, before.caseless);
    doubts |= mark & first_bytes & after_other;
  }
  if constexpr (kRules.slash_tail) doubts |= classes.slash & after(tail, tail_before);
  state.doubts = doubts;
  if constexpr (kRules.numeric_bytes) state.starts |= byte_starts(classes) & valid;

  before.letter = letter;
  before.lower = lower;
  before.caseless = caseless;
  before.number = number;
  before.apart = apart;
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
    &scan<PatternFamily::kTekken>,
    &scan<PatternFamily::kQwen35>,
    &scan<PatternFamily::kStarcoder>,
    &scan<PatternFamily::kKimi>,
    &scan<PatternFamily::kDeepseek3>,
    &scan<PatternFamily::kFalcon>,
    &scan<PatternFamily::kClip>,
    &scan<PatternFamily::kWhitespace>,
    &scan<PatternFamily::kBert>,
}};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
