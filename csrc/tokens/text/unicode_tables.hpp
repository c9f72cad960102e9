// The Unicode classes that pre-tokenisation patterns tell apart: \p{Lu}\p{Lt}, \p{Ll},
// \p{Lm}\p{Lo},
// \p{M}, \p{N}, \s and the rest, as tiktoken's regex engine has them (see unicode_tables.cpp).
#pragma once

#include <cstdint>

namespace tokfrag {

enum CharClass : std::uint8_t {
  kOther = 0,
  kUpper = 1,
  kLower = 2,
  kLetter = 3,  // without case: modifier letters, ideographs, most scripts
  kMark = 4,
  kNumber = 5,
  kSpace = 6,
};

extern const std::uint8_t kClassPageOf[8704];  // the page of each 128 code points
extern const char kClassPages[];               // a digit a code point: its CharClass

// Internal linkage, because kernels compiled for several instruction sets include this.
namespace {

inline CharClass class_of(std::uint32_t code_point) {
  const std::uint32_t page = kClassPageOf[code_point >> 7];
  return static_cast<CharClass>(kClassPages[page * 128 + (code_point & 127)] - '0');
}

}  // namespace

}  // namespace tokfrag
