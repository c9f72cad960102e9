#include "tokens/text.hpp"

#include <utility>

#include "core/buffer_pool.hpp"
#include "tokens/transcoding.hpp"

namespace tokfrag {

std::uint8_t* Utf8Scratch::room(std::int64_t bytes) {
  if (bytes > buffer_.size()) {
    give_buffer(std::move(buffer_));
    buffer_ = take_buffer(bytes);
  }
  return buffer_.as<std::uint8_t>();
}

Utf8 to_utf8(const Text& text, Utf8Scratch* scratch) {
  if (text.unit == 0) return {static_cast<const std::uint8_t*>(text.data), text.length};
  std::uint8_t* const begin = scratch->room(utf8_bound(text) + Transcoding::kSlack);
  const Transcoding& kernels = transcoding_kernels();
  std::uint8_t* end = begin;
  if (text.unit == 1) {
    end = kernels.latin1(static_cast<const std::uint8_t*>(text.data), text.length, begin);
  } else if (text.unit == 2) {
    end = kernels.ucs2(static_cast<const std::uint16_t*>(text.data), text.length, begin);
  } else {
    end = kernels.ucs4(static_cast<const std::uint32_t*>(text.data), text.length, begin);
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
