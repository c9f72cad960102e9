#include "tokens/byte_pair/cutting.hpp"

#include <algorithm>

#include "tokens/scan/kinds.hpp"
#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

struct Cut {
  std::int64_t at;
  bool inside;  // a piece
};

bool ascii_letter(std::uint8_t byte) { return static_cast<std::uint8_t>((byte | 0x20) - 'a') < 26; }

bool caseless(const std::uint8_t* text, std::int64_t size, std::int64_t at, std::int64_t* length) {
  const Char c = read_char(text, size, at);
  *length = c.length;
  return c.length > 1 && c.kind == kLetter;
}

// The first safe cut in [from, to); `to` if there is none.
Cut find_cut(const Encoder& encoder, const std::uint8_t* text, std::int64_t size, std::int64_t from,
             std::int64_t to) {
  constexpr std::int64_t kPatience = 4096;  // before a cut inside a piece is taken
  for (std::int64_t i = from; i + 1 < std::min(to, from + kPatience); ++i) {
    if (text[i] == ' ' && ascii_letter(text[i - 1]) && ascii_letter(text[i + 1])) return {i, false};
  }
  // Where words change with case, what follows the cut up to the end of the letters matters: no
  // cut then, if a capital ends them. `safe_from` skips letters already seen to end so.
  const bool by_case = rules_of(*encoder.family()).words_by_case;
  // Nor where pieces begin inside characters.
  const bool inside = !rules_of(*encoder.family()).numeric_bytes &&
                      (encoder.words() == nullptr || encoder.words()->cuts_pieces());
  std::int64_t at = from;
  while (at < to && is_continuation(text[at])) ++at;
  std::int64_t run_end = 0;
  bool run_safe = true;
  while (at < to) {
    std::int64_t left = 0;
    std::int64_t right = 0;
    if (text[at] == ' ' && at + 1 < size && ascii_letter(text[at - 1]) &&
        ascii_letter(text[at + 1])) {
      return {at, false};
    }
    const bool here = caseless(text, size, at, &left);
    if (inside && here && at + left < to && caseless(text, size, at + left, &right)) {
      if (by_case && at + left >= run_end) {
        run_end = at + left;
        Char c = read_char(text, size, run_end);
        while (c.length != 0 && (c.kind == kLetter || c.kind == kMark)) {
          run_end += c.length;
          c = read_char(text, size, run_end);
        }
        run_safe = c.length == 0 || c.kind != kUpper;
      }
      // Where one of the two is set apart, this is no place inside a piece.
      const bool alike = is_set_apart(*encoder.family(), text, size, at) ==
                         is_set_apart(*encoder.family(), text, size, at + left);
      if (run_safe && alike &&
          !encoder.joins().may_join(text + at, left, text + at + left, right)) {
        return {at + left, true};
      }
    }
    at += left;
  }
  return {to, false};
}

}  // namespace

std::vector<Stretch> cut_text(const Encoder& encoder, const std::uint8_t* text, std::int64_t size,
                              std::int64_t target) {
  std::vector<Stretch> stretches;
  Stretch open{text, size};
  if (encoder.family()) {
    std::int64_t begin = 0;
    while (size - begin > target + target / 2) {
      const Cut cut = find_cut(encoder, text, size, begin + target, size);
      if (cut.at >= size) break;
      open.size = cut.at - begin;
      open.ends_inside = cut.inside;
      stretches.push_back(open);
      begin = cut.at;
      open = Stretch{text + begin, size - begin, cut.inside, false};
    }
  }
  stretches.push_back(open);
  return stretches;
}

}  // namespace tokfrag
