// Characters as a pattern sees them: classes of Unicode, but for what the pattern sets apart.
//
// Internal linkage, because kernels compiled for several instruction sets include this.
#pragma once

#include <cstdint>

#include "tokens/scan/patterns.hpp"
#include "tokens/scan/traits.hpp"
#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

// A kind is a CharClass, or this class of the characters whose runs are pieces.
constexpr CharClass kApart = static_cast<CharClass>(7);
// Added to the class of a character of which only the scalar scanner can tell where it belongs.
constexpr int kOdd = 8;
// Of those set apart, symbols, which stand apart from letters there too, and what is neither.
constexpr CharClass kApartSymbol = static_cast<CharClass>(kApart | kOdd);
constexpr CharClass kApartControl = static_cast<CharClass>(kApart | kOdd | 16);

inline CharClass class_of_kind(CharClass kind) { return static_cast<CharClass>(kind & 7); }

inline bool is_odd(CharClass kind) { return (kind & kOdd) != 0; }

template <PatternFamily family>
inline CharClass kind_of(std::uint32_t code_point) {
  constexpr PatternRules kRules = rules_of(family);
  const CharClass kind = class_of(code_point);
  const auto odd = [&] { return static_cast<CharClass>(kind | kOdd); };
  if constexpr (kRules.apart == Apart::kHan) {
    if (code_point >= 0x2E80 && has_trait(code_point, kHan)) {
      return kind == kLetter ? kApart : odd();
    }
  }
  if constexpr (kRules.apart == Apart::kChinese) {
    if ((code_point >= 0x3040 && code_point <= 0x30FF) ||
        (code_point >= 0x4E00 && code_point <= 0x9FA5)) {
      if (kind == kLetter || kind == kMark) return kApart;
      return has_trait(code_point, kSymbol) ? kApartSymbol : kApartControl;
    }
  }
  if constexpr (kRules.apart == Apart::kPunctuation) {
    if (kind != kLetter && has_trait(code_point, kPunctuation)) return kApart;
  }
  if constexpr (kRules.apart == Apart::kWords) {
    if (has_trait(code_point, kOfWords)) return kApart;
  }
  if constexpr (kRules.space_alone) return kind == kSpace ? kSpace : kOther;
  if constexpr (kRules.punctuation_before_ascii) {
    if (kind == kOther && !has_trait(code_point, kSymbol)) return odd();
  }
  if constexpr (kRules.marks_are_letters) {
    if (kind == kMark) return kLetter;
  }
  return kind;
}

// Whether the character at text[position] is of those whose runs are pieces of a family.
inline bool is_set_apart(PatternFamily family, const std::uint8_t* text, std::int64_t size,
                         std::int64_t position) {
  const std::uint32_t code_point = decode_utf8(text, size, position).value;
  switch (family) {
    case PatternFamily::kKimi:
      return kind_of<PatternFamily::kKimi>(code_point) == kApart;
    case PatternFamily::kDeepseek3:
      return class_of_kind(kind_of<PatternFamily::kDeepseek3>(code_point)) == kApart;
    case PatternFamily::kFalcon:
      return kind_of<PatternFamily::kFalcon>(code_point) == kApart;
    default:
      return false;
  }
}

template <PatternFamily family>
inline Char read_kind(const std::uint8_t* text, std::int64_t size, std::int64_t position) {
  if (position >= size) return {kOther, 0};
  const CodePoint point = decode_utf8(text, size, position);
  return {kind_of<family>(point.value), point.length};
}

}  // namespace

}  // namespace tokfrag
