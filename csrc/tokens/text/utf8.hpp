// Reading UTF-8 one character at a time, whatever the bytes are.
#pragma once

#include <cstdint>

#include "tokens/text/unicode_tables.hpp"

namespace tokfrag {

// Internal linkage, because kernels compiled for several instruction sets include this.
namespace {

struct Char {
  CharClass kind;
  std::uint8_t length;  // in bytes; 0 past the end of the text
};

inline bool is_continuation(std::uint8_t byte) { return (byte & 0xC0) == 0x80; }

struct CodePoint {
  std::uint32_t value;
  std::uint8_t length;
};

// The character at text[position]. A byte that begins no well-formed sequence (RFC 3629: no
// overlong form, no surrogate, nothing above U+10FFFF) is U+FFFD, one byte long.
inline CodePoint decode_utf8(const std::uint8_t* text, std::int64_t size, std::int64_t position) {
  constexpr CodePoint kInvalid{0xFFFD, 1};
  const std::uint8_t* p = text + position;
  const std::int64_t left = size - position;
  const std::uint32_t lead = p[0];
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xC2 || lead > 0xF4 || left < 2 || !is_continuation(p[1])) return kInvalid;
  const std::uint32_t second = p[1] & 0x3Fu;
  if (lead < 0xE0) return {((lead & 0x1Fu) << 6) | second, 2};
  if (left < 3 || !is_continuation(p[2])) return kInvalid;
  const std::uint32_t third = p[2] & 0x3Fu;
  if (lead < 0xF0) {
    const std::uint32_t value = ((lead & 0x0Fu) << 12) | (second << 6) | third;
    if (value < 0x800 || (value >= 0xD800 && value < 0xE000)) return kInvalid;
    return {value, 3};
  }
  if (left < 4 || !is_continuation(p[3])) return kInvalid;
  const std::uint32_t value =
      ((lead & 0x07u) << 18) | (second << 12) | (third << 6) | (p[3] & 0x3Fu);
  if (value < 0x10000 || value > 0x10FFFF) return kInvalid;
  return {value, 4};
}

inline Char read_char(const std::uint8_t* text, std::int64_t size, std::int64_t position) {
  if (position >= size) return {kOther, 0};
  const CodePoint point = decode_utf8(text, size, position);
  return {class_of(point.value), point.length};
}

}  // namespace

}  // namespace tokfrag
