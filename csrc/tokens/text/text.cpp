#include "tokens/text/text.hpp"

#include <algorithm>
#include <utility>

#include "core/buffer_pool.hpp"
#include "core/interrupt.hpp"
#include "tokens/text/transcoding.hpp"

namespace tokfrag {

std::uint8_t* Utf8Scratch::room(std::int64_t bytes) {
  if (bytes > buffer_.size()) {
    give_buffer(std::move(buffer_));
    buffer_ = take_buffer(bytes);
  }
  return buffer_.as<std::uint8_t>();
}

namespace {

constexpr std::int64_t kUnitsAtOnce = 1 << 20;  // between two polls: a millisecond

// Calls work(begin, end) for stretches of `count` units; no pair of surrogates lies over two.
template <class Unit, class Work>
void by_stretches(const Unit* units, std::int64_t count, Work work) {
  for (std::int64_t at = 0; at < count;) {
    std::int64_t end = std::min(at + kUnitsAtOnce, count);
    if (end < count && (units[end - 1] & 0xFFFFFC00u) == 0xD800) ++end;
    work(at, end);
    at = end;
    if (at < count) poll_interrupt();
  }
}

template <class Unit>
std::uint8_t* transcode(const Text& text, std::uint8_t* out,
                        std::uint8_t* (*kernel)(const Unit*, std::int64_t, std::uint8_t*)) {
  const auto* units = static_cast<const Unit*>(text.data);
  by_stretches(units, text.length, [&](std::int64_t begin, std::int64_t end) {
    out = kernel(units + begin, end - begin, out);
  });
  return out;
}

template <class Unit>
bool any_surrogate(const Text& text) {
  const auto* units = static_cast<const Unit*>(text.data);
  bool found = false;
  by_stretches(units, text.length, [&](std::int64_t begin, std::int64_t end) {
    unsigned surrogates = 0;
    for (std::int64_t i = begin; i < end; ++i) surrogates |= (units[i] & 0xFFFFF800u) == 0xD800;
    found |= surrogates != 0;
  });
  return found;
}

}  // namespace

std::uint8_t* write_utf8(const Text& text, std::uint8_t* out) {
  if (text.unit == Text::kShared) {
    const auto* const bytes = static_cast<const std::uint8_t*>(text.data);
    by_stretches(bytes, text.length, [&](std::int64_t begin, std::int64_t end) {
      out = std::copy(bytes + begin, bytes + end, out);
    });
    return out;
  }
  const Transcoding& kernels = transcoding_kernels();
  if (text.unit == 1) return transcode(text, out, kernels.latin1);
  if (text.unit == 2) return transcode(text, out, kernels.ucs2);
  return transcode(text, out, kernels.ucs4);
}

Utf8 to_utf8(const Text& text, Utf8Scratch* scratch) {
  if (text.unit == 0) return {static_cast<const std::uint8_t*>(text.data), text.length};
  std::uint8_t* const begin = scratch->room(utf8_bound(text) + kUtf8Slack);
  return {begin, write_utf8(text, begin) - begin};
}

bool holds_surrogate(const Text& text) {
  if (text.unit == 2) return any_surrogate<std::uint16_t>(text);
  return text.unit == 4 && any_surrogate<std::uint32_t>(text);
}

}  // namespace tokfrag
