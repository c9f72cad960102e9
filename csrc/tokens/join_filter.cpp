#include "tokens/join_filter.hpp"

#include "tokens/utf8.hpp"

namespace tokfrag {

namespace {

// The bytes of a character or of a part of one, as a number.
std::uint64_t pack(const std::uint8_t* bytes, std::int64_t length) {
  std::uint64_t value = 0;
  for (std::int64_t i = 0; i < length; ++i) value = value << 8 | bytes[i];
  return value;
}

// How many bytes the character that `lead` begins should have; 1 if it begins none.
std::int64_t length_by_lead(std::uint8_t lead) {
  if (lead < 0xC2 || lead > 0xF4) return 1;
  return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

// Whether these bytes are the beginning of one character.
bool cut_short(const std::uint8_t* bytes, std::int64_t length) {
  if (length >= length_by_lead(bytes[0])) return false;
  for (std::int64_t i = 1; i < length; ++i) {
    if (!is_continuation(bytes[i])) return false;
  }
  return true;
}

std::size_t fragment_bit(std::uint8_t left_last, std::uint8_t right_first) {
  return static_cast<std::size_t>(left_last) * 256 + right_first;
}

// The length of the well-formed character at text[at]; 0 if there is none.
std::int64_t well_formed(const std::uint8_t* text, std::int64_t end, std::int64_t at) {
  if (text[at] < 0x80) return 1;
  const std::int64_t length = decode_utf8(text, end, at).length;
  return length == 1 ? 0 : length;
}

}  // namespace

JoinFilter::JoinFilter(const Vocabulary& vocabulary) : fragments_(256 * 256 / 64) {
  std::vector<Pair> found;
  for (Symbol symbol = 0; symbol < vocabulary.size(); ++symbol) {
    const std::uint8_t* bytes = vocabulary.bytes(symbol);
    const std::int64_t length = vocabulary.length(symbol);
    // Walk the characters of the token: the first may lack its beginning, the last its end.
    std::int64_t left = 0;
    std::int64_t at = 0;
    while (at < length && is_continuation(bytes[at])) ++at;
    bool left_whole = at == 0;
    if (left_whole) at = decode_utf8(bytes, length, 0).length;
    while (at < length) {
      std::int64_t right_length = decode_utf8(bytes, length, at).length;
      bool right_whole = true;
      if (cut_short(bytes + at, length - at)) {
        right_length = length - at;
        right_whole = false;
      }
      if (at - left <= 4 && right_length <= 4) {
        found.push_back({pack(bytes + left, at - left), pack(bytes + at, right_length)});
        if (!left_whole || !right_whole) {
          const std::size_t bit = fragment_bit(bytes[at - 1], bytes[at]);
          fragments_[bit >> 6] |= 1ull << (bit & 63);
        }
      }
      left = at;
      left_whole = true;
      at += right_length;
    }
  }
  int bits = 12;
  while ((std::size_t{1} << bits) < found.size() * 4 && bits < 20) ++bits;
  shift_ = 64 - bits;
  pairs_.assign((std::size_t{1} << bits) / 64, 0);
  for (const Pair& pair : found) {
    const std::uint64_t bit = place(pair.left, pair.right);
    pairs_[bit >> 6] |= 1ull << (bit & 63);
  }
}

bool JoinFilter::fragments_join(const std::uint8_t* left, std::int64_t left_length,
                                const std::uint8_t* right, std::int64_t right_length) const {
  for (std::int64_t skip = 0; skip < left_length; ++skip) {
    for (std::int64_t taken = 1; taken <= right_length; ++taken) {
      if (holds(pack(left + skip, left_length - skip), pack(right, taken))) return true;
    }
  }
  return false;
}

std::int64_t JoinFilter::unit_end(const std::uint8_t* text, std::int64_t begin,
                                  std::int64_t end) const {
  std::int64_t left = begin;
  std::int64_t left_length = well_formed(text, end, left);
  for (;;) {
    const std::int64_t right = left + (left_length != 0 ? left_length : 1);
    if (right >= end) return end;
    const std::int64_t right_length = well_formed(text, end, right);
    if (left_length != 0 && right_length != 0 &&
        !holds(pack(text + left, left_length), pack(text + right, right_length))) {
      const std::size_t bit = fragment_bit(text[right - 1], text[right]);
      if (((fragments_[bit >> 6] >> (bit & 63)) & 1) == 0 ||
          !fragments_join(text + left, left_length, text + right, right_length)) {
        return right;
      }
    }
    left = right;
    left_length = right_length;
  }
}

}  // namespace tokfrag
