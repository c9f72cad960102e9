#include "tokens/text/charsmap.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

constexpr std::uint32_t kKeyEnds = 1u << 8;
constexpr std::uint32_t kNone = 0xFFFFFFFFu;
constexpr std::int64_t kLongestWhole = 5;  // bytes of a grapheme that is replaced as one

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
    if (find(&own, 1, true).length == 0) {
      kept_.add(own);
      if (own != '\r') plain_.add(own);
    }
    const std::uint32_t node = step(offset_of(units_[0]), own);
    if (node == kNone) continue;
    const std::uint32_t children = node ^ offset_of(units_[node]);
    for (std::uint8_t next = 1; next < 0x80; ++next) {
      keeps_pairs_ &= step(children, next) == kNone;
    }
  }
  for (std::uint32_t lead = 0; lead < 0x100; ++lead) {
    const int left = lead < 0x80 ? 0 : lead < 0xC2 ? -1 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    if (left < 0 || lead > 0xF4) continue;
    const std::uint32_t node = step(offset_of(units_[0]), static_cast<std::uint8_t>(lead));
    if (node == kNone) continue;
    const std::uint32_t bits = left == 0 ? lead : lead & (0x3Fu >> left);
    note_starts(node, bits, left, (units_[node] & kKeyEnds) != 0);
  }
}

std::uint32_t Charsmap::step(std::uint32_t children, std::uint8_t byte) const {
  const std::uint32_t node = children ^ byte;
  return node < units_.size() && label_of(units_[node]) == byte ? node : kNone;
}

// Notes the characters whose bytes lead on from a node, `left` of them still to come.
void Charsmap::note_starts(std::uint32_t node, std::uint32_t point, int left, bool ended) {
  if (left == 0) {
    if (point < 0x110000) starts_.add(point);
    return;
  }
  const std::uint32_t children = node ^ offset_of(units_[node]);
  for (std::uint32_t byte = 0x80; byte < 0xC0; ++byte) {
    const std::uint32_t next = step(children, static_cast<std::uint8_t>(byte));
    if (next == kNone && !ended) continue;
    const std::uint32_t longer = point << 6 | (byte & 0x3F);
    if (next == kNone) {
      // A key that is the beginning of a character: all that go on from there.
      const std::uint32_t count = 1u << 6 * (left - 1);
      for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t other = longer << 6 * (left - 1) | i;
        if (other < 0x110000) starts_.add(other);
      }
      continue;
    }
    note_starts(next, longer, left - 1, ended || (units_[next] & kKeyEnds) != 0);
  }
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

AlignedText replace_aligned(const Charsmap& map, const GraphemeTable& graphemes,
                            const std::uint8_t* text, std::int64_t size) {
  AlignedText result;
  result.text.reserve(static_cast<std::size_t>(size) + 16);
  std::int64_t source = 0;  // characters before
  const auto append = [&](const std::uint8_t* old, std::int64_t old_size, const char* replacement,
                          std::size_t length) {
    result.text.append(replacement, length);
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
  for (std::int64_t at = 0; at < size;) {
    const std::int64_t end = graphemes.end(text, size, at);
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

bool replace_graphemes(const Charsmap& map, const GraphemeTable& graphemes,
                       const std::uint8_t* text, std::int64_t size, std::string* out) {
  const ByteRuns& runs = byte_runs();
  const auto* const chars = reinterpret_cast<const char*>(text);
  out->clear();
  std::int64_t copied = 0;
  bool changed = false;
  const auto replace = [&](std::int64_t at, std::int64_t length) {
    const Charsmap::Match match = map.shortest(text + at, length);
    if (match.length == 0) return false;
    if (!changed) out->reserve(static_cast<std::size_t>(size) + 16);
    changed = true;
    out->append(chars + copied, static_cast<std::size_t>(at - copied));
    out->append(match.text);
    copied = at + length;
    return true;
  };
  std::int64_t at = 0;
  while (at < size) {
    if (text[at] < 0x80) {
      std::int64_t run = runs.members(map.plain(), text + at, size - at);
      // The last may be in one grapheme with what comes after it.
      if (run > 0 && at + run < size && text[at + run] >= 0x80) --run;
      at += run;
      if (run > 0) continue;
    }
    const CodePoint first = decode_utf8(text, size, at);
    std::int64_t end = at + first.length;
    if (end < size && !(graphemes.alone(first.value) && text[end] < 0x80)) {
      const bool apart =
          graphemes.alone(first.value) && graphemes.alone(decode_utf8(text, size, end).value);
      if (!apart) end = graphemes.end(text, size, at);
    }
    if (end == at + first.length) {
      if (map.starts(first.value)) replace(at, first.length);
      at = end;
      continue;
    }
    if (end - at <= kLongestWhole && replace(at, end - at)) {
      at = end;
      continue;
    }
    while (at < end) {
      const CodePoint point = decode_utf8(text, size, at);
      if (map.starts(point.value)) replace(at, point.length);
      at += point.length;
    }
  }
  if (changed) out->append(chars + copied, static_cast<std::size_t>(size - copied));
  return changed;
}

}  // namespace tokfrag
