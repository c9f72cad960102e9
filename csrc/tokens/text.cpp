#include "tokens/text.hpp"

namespace tokfrag {

namespace {

std::uint8_t* put(std::uint32_t c, std::uint8_t* out) {
  const auto byte = [](std::uint32_t value) { return static_cast<std::uint8_t>(value); };
  const auto tail = [&](int shift) { return byte(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    *out++ = byte(c);
  } else if (c < 0x800) {
    *out++ = byte(0xC0 | (c >> 6));
    *out++ = tail(0);
  } else if (c < 0x10000) {
    *out++ = byte(0xE0 | (c >> 12));
    *out++ = tail(6);
    *out++ = tail(0);
  } else {
    *out++ = byte(0xF0 | (c >> 18));
    *out++ = tail(12);
    *out++ = tail(6);
    *out++ = tail(0);
  }
  return out;
}

template <class Unit>
std::uint8_t* put_all(const Unit* units, std::int64_t length, std::uint8_t* out) {
  for (std::int64_t i = 0; i < length; ++i) {
    std::uint32_t c = units[i];
    if (sizeof(Unit) > 1 && c >= 0xD800 && c < 0xE000) {
      const std::uint32_t next = i + 1 < length ? units[i + 1] : 0;
      if (c < 0xDC00 && next >= 0xDC00 && next < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (next - 0xDC00);
        ++i;
      } else {
        c = 0xFFFD;
      }
    }
    out = put(c, out);
  }
  return out;
}

}  // namespace

Utf8 to_utf8(const Text& text, std::vector<std::uint8_t>* scratch) {
  if (text.unit == 0) return {static_cast<const std::uint8_t*>(text.data), text.length};
  const auto bound = static_cast<std::size_t>(utf8_bound(text));
  if (scratch->size() < bound) scratch->resize(bound);
  std::uint8_t* const begin = scratch->data();
  std::uint8_t* end = begin;
  if (text.unit == 1) {
    end = put_all(static_cast<const std::uint8_t*>(text.data), text.length, begin);
  } else if (text.unit == 2) {
    end = put_all(static_cast<const std::uint16_t*>(text.data), text.length, begin);
  } else {
    end = put_all(static_cast<const std::uint32_t*>(text.data), text.length, begin);
  }
  return {begin, end - begin};
}

void to_characters(Utf8 text, std::int64_t count, std::int64_t* offsets) {
  std::int64_t at = 0;
  std::int64_t characters = 0;  // that begin in text[0, at)
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t end = offsets[2 * i + 1];
    const bool whole = at >= text.size || (text.data[at] & 0xC0) != 0x80;
    offsets[2 * i] = characters - (whole || characters == 0 ? 0 : 1);
    for (; at < end; ++at) characters += (text.data[at] & 0xC0) != 0x80;
    offsets[2 * i + 1] = characters;
  }
}

}  // namespace tokfrag
