// The scalar scanner: where the piece that begins at a position ends. The ground truth for the
// vector scanner, which also calls it wherever a character needs more context than two neighbours.
//
// Cost: linear in the piece (at most three passes over it, constant stack) for every family.
#pragma once

#include <cstdint>

#include "tokens/scan/kinds.hpp"
#include "tokens/scan/numeric_bytes.hpp"
#include "tokens/scan/patterns.hpp"
#include "tokens/text/utf8.hpp"

namespace tokfrag {

// Internal linkage, because kernels compiled for several instruction sets include this.
namespace {

inline bool is_letter(CharClass kind) {
  return kind == kUpper || kind == kLower || kind == kLetter;
}

inline bool is_punctuation(CharClass kind) { return kind == kOther || kind == kMark; }

inline bool is_ascii_letter(std::uint8_t byte) {
  return static_cast<std::uint8_t>((byte | 0x20) - 'a') < 26;
}

// Whether white space before such a character is as at the end of a text.
template <PatternFamily family>
inline bool ends_space(CharClass kind) {
  constexpr PatternRules kRules = rules_of(family);
  return (kRules.numbers_first && kind == kNumber) ||
         (kRules.apart_ends_space() && class_of_kind(kind) == kApart);
}

inline bool is_newline(std::uint8_t byte) { return byte == '\n' || byte == '\r'; }

// The length of 's 't 're 've 'm 'll 'd at text[position], which holds the apostrophe; else 0.
template <PatternFamily family>
inline int contraction_length(const std::uint8_t* text, std::int64_t size, std::int64_t position) {
  constexpr bool kAnyCase = rules_of(family).contraction_any_case;
  const std::uint8_t* p = text + position;
  const std::int64_t left = size - position;
  if (left < 2) return 0;
  const auto fold = [](std::uint8_t byte) {
    return kAnyCase && byte >= 'A' && byte <= 'Z' ? static_cast<std::uint8_t>(byte | 0x20) : byte;
  };
  const std::uint8_t first = fold(p[1]);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (left < 3) return 0;
  if (kAnyCase && p[1] == 0xC5 && p[2] == 0xBF) return 3;  // U+017F, which folds to s
  const std::uint8_t second = fold(p[2]);
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  return first == 'l' && second == 'l' ? 3 : 0;
}

template <PatternFamily family>
struct Advance {
  static constexpr PatternRules kRules = rules_of(family);

  const std::uint8_t* text;
  std::int64_t size;

  Char at(std::int64_t position) const { return read_kind<family>(text, size, position); }

  // The end of the run of characters of which `belongs` holds, from `position`. It may be short
  // where numeric bytes have cut it by then.
  template <class Belongs>
  std::int64_t run(std::int64_t position, Belongs belongs) const {
    const std::int64_t begin = position;
    for (Char c = at(position); c.length != 0 && belongs(c.kind); c = at(position)) {
      const std::int64_t from = position > begin ? position : begin + 1;
      position += c.length;
      if constexpr (kRules.numeric_bytes) {
        if (numeric_turn(text, from, position) < position) break;
      }
    }
    return position;
  }

  // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ from `position`; -1: no match. The
  // star takes all it can and gives back until the plus has something.
  std::int64_t cased_word(std::int64_t position) const {
    std::int64_t caseless_end = -1;
    Char c = at(position);
    while (c.length != 0 && (c.kind == kUpper || c.kind == kLetter || c.kind == kMark)) {
      position += c.length;
      if (c.kind != kUpper) caseless_end = position;
      c = at(position);
    }
    if (c.length == 0 || c.kind != kLower) return caseless_end;
    return run(position,
               [](CharClass kind) { return kind == kLower || kind == kLetter || kind == kMark; });
  }

  // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+ from `position`, where cased_word has failed; -1: no match.
  std::int64_t upper_word(std::int64_t position) const {
    const std::int64_t end = run(position, [](CharClass kind) {
      return kind == kUpper || kind == kLetter || kind == kMark;
    });
    return end > position ? end : -1;
  }

  // The word that begins at `position`, with its prefix and suffix; -1: no match.
  std::int64_t word(std::int64_t position, Char first) const {
    const std::uint8_t byte = text[position];
    bool prefix = false;
    if constexpr (kRules.any_prefix) {
      prefix = !is_letter(first.kind) && class_of_kind(first.kind) != kNumber && !is_newline(byte);
    } else {
      prefix = kRules.blank_prefix && byte == ' ';
    }
    const std::int64_t after = position + first.length;
    if constexpr (kRules.punctuation_before_ascii) {
      if (first.kind == kOther) {
        std::int64_t end = after;
        while (byte < 0x80 && end < size && is_ascii_letter(text[end])) ++end;
        return end > after ? end : -1;
      }
    }
    if constexpr (kRules.words_by_case) {
      std::int64_t end = prefix ? cased_word(after) : -1;
      if (end < 0) end = cased_word(position);
      if (end < 0 && prefix) end = upper_word(after);
      if (end < 0) end = upper_word(position);
      if (end < 0) return -1;
      if constexpr (kRules.contraction == Contraction::kSuffix) {
        if (end < size && text[end] == '\'') end += contraction_length<family>(text, size, end);
      }
      return end;
    } else {
      if (!prefix && !is_letter(first.kind)) return -1;
      const std::int64_t begin = prefix ? after : position;
      const std::int64_t end = run(begin, is_letter);
      return end > begin ? end : -1;
    }
  }

  // \p{N}+ or \p{N}{1,max} from `position`; -1: no match.
  std::int64_t number(std::int64_t position, Char first) const {
    if (kRules.number_prefix && text[position] == ' ') {
      position += 1;
      first = at(position);
    }
    const auto belongs = [](Char c) { return c.length != 0 && class_of_kind(c.kind) == kNumber; };
    if (!belongs(first)) return -1;
    int digits = 0;
    while (belongs(first)) {
      position += first.length;
      if (++digits == kRules.max_digits) break;
      if constexpr (kRules.numeric_bytes) {
        // It is cut here already, if not before.
        if (numeric_turn(text, position - first.length + 1, position) < position) break;
      }
      first = at(position);
    }
    return position;
  }

  // ' '?[^\s\p{L}\p{N}]+ and its tail from `position`; -1: no match.
  std::int64_t punctuation(std::int64_t position) const {
    const std::int64_t begin = position + (kRules.blank_prefix && text[position] == ' ' ? 1 : 0);
    std::int64_t end = run(begin, [](CharClass kind) {
      // An odd one is a control, or a Chinese character that is punctuation too.
      return is_punctuation(kRules.apart == Apart::kHan ? class_of_kind(kind) : kind);
    });
    if (end == begin) return -1;
    if constexpr (kRules.newline_tail) {
      while (end < size && (is_newline(text[end]) || (kRules.slash_tail && text[end] == '/'))) {
        ++end;
      }
    }
    return end;
  }

  // The white space piece at `position`, where nothing else matched.
  std::int64_t space(std::int64_t position) const {
    std::int64_t end = position;
    std::int64_t last = position;
    std::int64_t after_newline = position;
    for (Char c = at(end); c.length != 0 && c.kind == kSpace; c = at(end)) {
      last = end;
      end += c.length;
      if (is_newline(text[last])) after_newline = end;
    }
    if constexpr (kRules.trailing_space_first) {
      if (end == size) return end;
    }
    if constexpr (kRules.newline_piece) {
      if (after_newline > position) return after_newline;
    }
    if (end == size || ends_space<family>(at(end).kind)) return end;
    return last > position ? last : end;
  }

  // Characters of a kind that no alternative matches, but for one that a word takes.
  template <class IsLetter>
  std::int64_t controls(std::int64_t position, CharClass kind, IsLetter begins_word) const {
    std::int64_t end = position;
    for (Char c = at(end); c.length != 0 && c.kind == kind; c = at(end)) {
      const Char next = at(end + c.length);
      if (next.length != 0 && begins_word(next.kind)) {
        return end > position ? end : run(end + c.length, begins_word);
      }
      end += c.length;
    }
    return end > position ? end : -1;
  }

  // The piece at `position` of Chinese that was cut off and meets the pattern by itself; -1: none.
  std::int64_t chinese(std::int64_t position, Char first) const {
    const auto same = [&](CharClass kind) { return kind == first.kind; };
    if (first.kind == kApart || first.kind == kApartSymbol) return run(position, same);
    return controls(position, kApartControl, [](CharClass kind) { return kind == kApart; });
  }

  // The end of the piece that begins at `position` < size.
  std::int64_t operator()(std::int64_t position) const {
    if constexpr (kRules.numeric_bytes) {
      return piece_of_bytes(position);
    } else {
      return piece(position);
    }
  }

 private:
  std::int64_t piece(std::int64_t position) const {
    if constexpr (kRules.contraction == Contraction::kPiece) {
      if (text[position] == '\'') {
        const int length = contraction_length<family>(text, size, position);
        if (length != 0) return position + length;
      }
    }
    const Char first = at(position);
    if constexpr (kRules.apart == Apart::kChinese) {
      if (class_of_kind(first.kind) == kApart) return chinese(position, first);
    } else if constexpr (kRules.apart != Apart::kNothing) {
      const auto belongs = [](CharClass kind) {
        return kind == kApart || (kRules.apart == Apart::kHan && is_odd(kind));
      };
      if (belongs(first.kind)) {
        return kRules.apart_single ? position + first.length : run(position, belongs);
      }
    }
    std::int64_t end = word(position, first);
    if (end < 0) end = number(position, first);
    if (end < 0) end = punctuation(position);
    if constexpr (kRules.punctuation_before_ascii) {
      if (end < 0) end = controls(position, static_cast<CharClass>(kOther | kOdd), is_letter);
    }
    return end < 0 ? space(position) : end;
  }

  // The same where pieces are cut at numeric bytes, and may begin inside a character.
  std::int64_t piece_of_bytes(std::int64_t position) const {
    std::int64_t begin = position;
    while (begin > 0 && position - begin < 3 && is_continuation(text[begin])) --begin;
    const bool inside = begin < position && begin + at(begin).length > position;
    if (!inside) begin = position;
    const Char first = at(begin);
    const auto alike = [&](CharClass kind) {
      return (is_letter(kind) && is_letter(first.kind)) || kind == first.kind ||
             (is_punctuation(kind) && is_punctuation(first.kind));
    };
    const std::int64_t after = begin + first.length;
    if (!inside && !is_numeric_byte(text[position])) {
      const std::int64_t end = piece(position);
      return numeric_turn(text, position + 1, end);
    }
    if (const int digits = digits_at(position); digits > 0) return position + digits;
    std::int64_t end = numeric_turn(text, position + 1, inside ? after : position + 1);
    if (inside && end < after) return end;
    if (!is_numeric_byte(text[position])) {
      // The rest of the run that the character belongs to.
      end = run(after, alike);
      return numeric_turn(text, after, end);
    }
    for (Char c = at(end); c.length != 0 && is_numeric_byte(text[end]) && alike(c.kind);
         c = at(end)) {
      if (const int digits = digits_at(end); digits > 0) return digits == 3 ? end : end + digits;
      end += c.length;
    }
    return end;
  }

  // How many ASCII digits there are at `position`, up to three.
  int digits_at(std::int64_t position) const {
    int digits = 0;
    while (digits < 3 && position + digits < size && is_digit(text[position + digits])) ++digits;
    return digits;
  }
};

}  // namespace

}  // namespace tokfrag
