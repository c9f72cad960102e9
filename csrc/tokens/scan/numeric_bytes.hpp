// Bytes that GPT-2's alphabet writes as numbers: 0-9 stand for themselves, B2, B3, B9 and BC to BE
// for U+00B2, U+00B3, U+00B9 and U+00BC to U+00BE, of class No. Steps that look for numbers in text
// that is written in this alphabet cut characters apart there.
#pragma once

#include <cstdint>

namespace tokfrag {

// Internal linkage, because kernels compiled for several instruction sets include this.
namespace {

inline bool is_digit(std::uint8_t byte) { return static_cast<std::uint8_t>(byte - '0') < 10; }

inline bool is_numeric_byte(std::uint8_t byte) {
  return is_digit(byte) || byte == 0xB2 || byte == 0xB3 || byte == 0xB9 ||
         static_cast<std::uint8_t>(byte - 0xBC) < 3;
}

// The first place in [from, to) where a number begins or ends; `to` if there is none. There is a
// byte before `from`.
inline std::int64_t numeric_turn(const std::uint8_t* text, std::int64_t from, std::int64_t to) {
  while (from < to && is_numeric_byte(text[from]) == is_numeric_byte(text[from - 1])) ++from;
  return from;
}

}  // namespace

}  // namespace tokfrag
