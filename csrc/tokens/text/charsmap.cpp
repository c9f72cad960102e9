#include "tokens/text/charsmap.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

constexpr std::uint32_t kKeyEnds = 1u << 8;

std::uint32_t label_of(std::uint32_t unit) { return unit & (1u << 31 | 0xFFu); }
std::uint32_t offset_of(std::uint32_t unit) { return (unit >> 10) << ((unit & 1u << 9) >> 6); }

std::uint32_t read_unit(const char* from) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<std::uint8_t>(from[i]);
  return value;
}

std::int64_t count_characters(const std::uint8_t* text, std::int64_t size) {
  return std::count_if(text, text + size, [](std::uint8_t byte) { return !is_continuation(byte); });
}

}  // namespace

Charsmap::Charsmap(const std::string& blob) {
  const std::size_t size = blob.size() >= 4 ? read_unit(blob.data()) : 0;
  if (size == 0 || size % 4 != 0 || blob.size() - 4 <= size || blob.back() != '\0') {
    throw std::invalid_argument("precompiled_charsmap: the blob is cut short");
  }
  units_.resize(size / 4);
  for (std::size_t i = 0; i < units_.size(); ++i) units_[i] = read_unit(blob.data() + 4 + 4 * i);
  replacements_ = blob.substr(4 + size);
  for (std::uint32_t byte = 0; byte < 0x80; ++byte) {
    const auto own = static_cast<std::uint8_t>(byte);
    keeps_[byte] = find(&own, 1, true).length == 0;
    const std::uint32_t node = offset_of(units_[0]) ^ byte;
    if (node >= units_.size() || label_of(units_[node]) != byte) continue;
    const std::uint32_t children = node ^ offset_of(units_[node]);
    for (std::uint32_t next = 1; next < 0x80; ++next) {
      const std::uint32_t child = children ^ next;
      keeps_pairs_ &= child >= units_.size() || label_of(units_[child]) != next;
    }
  }
}

JoiningSet::JoiningSet(std::string bits) : bits_(std::move(bits)) {
  if (bits_.size() != 0x110000 / 8) throw std::invalid_argument("joining: takes 0x110000 bits");
}

bool JoiningSet::any_in(const std::uint8_t* text, std::int64_t size) const {
  for (std::int64_t at = 0; at < size;) {
    if (text[at] < 0x80) {
      if (text[at] == '\r' && at + 1 < size && text[at + 1] == '\n') return true;
      ++at;
      continue;
    }
    const CodePoint point = decode_utf8(text, size, at);
    if (holds(point.value)) return true;
    at += point.length;
  }
  return false;
}

Charsmap::Match Charsmap::find(const std::uint8_t* text, std::int64_t size, bool first) const {
  Match match{0, ""};
  std::uint32_t node = offset_of(units_[0]);
  for (std::int64_t i = 0; i < size; ++i) {
    node ^= text[i];
    if (node >= units_.size()) break;
    const std::uint32_t unit = units_[node];
    if (label_of(unit) != text[i]) break;
    node ^= offset_of(unit);
    if (node >= units_.size()) break;
    if ((unit & kKeyEnds) == 0) continue;
    const std::uint32_t value = units_[node] & ~(1u << 31);
    // A damaged blob points outside: such a key replaces nothing.
    if (value >= replacements_.size()) break;
    match = {i + 1, replacements_.data() + value};
    if (first) break;
  }
  return match;
}

AlignedText replace_graphemes(const Charsmap& map, const std::uint8_t* text, std::int64_t size,
                              const std::int64_t* ends, std::int64_t count, bool aligned) {
  constexpr std::int64_t kLongestWhole = 5;
  AlignedText result;
  result.text.reserve(static_cast<std::size_t>(size) + 16);
  std::int64_t source = 0;  // characters before
  const auto append = [&](const std::uint8_t* old, std::int64_t old_size, const char* replacement,
                          std::size_t length) {
    result.text.append(replacement, length);
    if (!aligned) return;
    const std::int64_t characters = count_characters(old, old_size);
    const std::int64_t made = count_characters(reinterpret_cast<const std::uint8_t*>(replacement),
                                               static_cast<std::int64_t>(length));
    for (std::int64_t i = 0; i < made; ++i) {
      result.sources.push_back(source + std::min(i, characters - 1));
    }
    source += characters;
  };
  const auto replace_one = [&](const std::uint8_t* at, std::int64_t length) {
    const Charsmap::Match match = map.shortest(at, length);
    if (match.length == 0) return false;
    append(at, length, match.text, std::strlen(match.text));
    return true;
  };
  std::int64_t at = 0;
  for (std::int64_t i = 0; at < size; ++i) {
    if (ends == nullptr && !aligned) {
      // ASCII that is no key is copied in runs.
      std::int64_t run = at;
      while (run < size && map.keeps(text[run])) ++run;
      result.text.append(reinterpret_cast<const char*>(text + at),
                         static_cast<std::size_t>(run - at));
      at = run;
      if (at == size) break;
    }
    const std::int64_t end =
        ends != nullptr && i < count ? ends[i] : at + decode_utf8(text, size, at).length;
    if (end - at <= kLongestWhole && replace_one(text + at, end - at)) {
      at = end;
      continue;
    }
    while (at < end) {
      const std::int64_t length = decode_utf8(text, size, at).length;
      if (!replace_one(text + at, length)) {
        append(text + at, length, reinterpret_cast<const char*>(text + at),
               static_cast<std::size_t>(length));
      }
      at += length;
    }
  }
  return result;
}

}  // namespace tokfrag
