#include "tokens/text/text.hpp"

#include <cstring>
#include <utility>

#include "core/buffer_pool.hpp"
#include "tokens/text/transcoding.hpp"

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

namespace {

// How many of the first `left` (at most 8) bytes at `p` are no continuation.
std::int64_t first_bytes(const std::uint8_t* p, std::int64_t left, std::int64_t readable) {
  constexpr std::uint64_t kOnes = 0x0101010101010101ull;
  std::uint64_t bytes = 0;
  if (readable >= 8) {
    std::memcpy(&bytes, p, 8);
  } else {
    std::memcpy(&bytes, p, static_cast<std::size_t>(left));
  }
  const std::uint64_t wanted = kOnes >> ((64 - 8 * left) & 63);
  return left - static_cast<std::int64_t>((bytes >> 7 & ~(bytes >> 6) & wanted) * kOnes >> 56);
}

// How many characters begin in text[from, to), which is not empty.
inline std::int64_t count_characters(Utf8 text, std::int64_t from, std::int64_t to) {
  std::int64_t count = 0;
  for (; to - from > 8; from += 8) count += first_bytes(text.data + from, 8, text.size - from);
  return count + first_bytes(text.data + from, to - from, text.size - from);
}

}  // namespace

void CharacterOffsets::operator()(std::int64_t count, std::int64_t* offsets) {
  const Utf8 text = text_;
  std::int64_t at = at_;
  std::int64_t characters = characters_;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t end = offsets[2 * i + 1];
    const bool inside = at < text.size && (text.data[at] & 0xC0) == 0x80 && characters != 0;
    offsets[2 * i] = characters - inside;
    characters += count_characters(text, at, end);
    at = end;
    offsets[2 * i + 1] = characters;
  }
  at_ = at;
  characters_ = characters;
}

}  // namespace tokfrag
