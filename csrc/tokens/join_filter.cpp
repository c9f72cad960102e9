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

// The well-formed character at text[at] as a number, and its length; length 0 if there is none.
struct Packed {
  std::uint64_t value;
  std::int64_t length;
};

Packed read_packed(const std::uint8_t* text, std::int64_t end, std::int64_t at) {
  const std::uint8_t* p = text + at;
  if (p[0] < 0x80) return {p[0], 1};
  // Three bytes, of a lead that any two continuation bytes may follow.
  if (p[0] > 0xE0 && p[0] < 0xED && end - at >= 3 && is_continuation(p[1]) &&
      is_continuation(p[2])) {
    return {static_cast<std::uint64_t>(p[0]) << 16 | static_cast<std::uint64_t>(p[1]) << 8 | p[2],
            3};
  }
  const std::int64_t length = decode_utf8(text, end, at).length;
  return length == 1 ? Packed{0, 0} : Packed{pack(p, length), length};
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

bool JoinFilter::may_join(const std::uint8_t* left, std::int64_t left_length,
                          const std::uint8_t* right, std::int64_t right_length) const {
  if (holds(pack(left, left_length), pack(right, right_length))) return true;
  const std::size_t bit = fragment_bit(left[left_length - 1], right[0]);
  return ((fragments_[bit >> 6] >> (bit & 63)) & 1) != 0 &&
         fragments_join(left, left_length, right, right_length);
}

std::int64_t JoinFilter::unit_end(const std::uint8_t* text, std::int64_t begin,
                                  std::int64_t end) const {
  std::int64_t at = begin;
  Packed left = read_packed(text, end, at);
  for (;;) {
    const std::int64_t next = at + (left.length != 0 ? left.length : 1);
    if (next >= end) return end;
    const Packed right = read_packed(text, end, next);
    if (left.length != 0 && right.length != 0 && !holds(left.value, right.value)) {
      const std::size_t bit = fragment_bit(text[next - 1], text[next]);
      if (((fragments_[bit >> 6] >> (bit & 63)) & 1) == 0 ||
          !fragments_join(text + at, left.length, text + next, right.length)) {
        return next;
      }
    }
    at = next;
    left = right;
  }
}

}  // namespace tokfrag
