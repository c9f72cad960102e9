#include "tokens/byte_pair/join_filter.hpp"

#include <cstring>
#include <utility>

#include "core/interrupt.hpp"
#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

constexpr std::size_t kPollPairs = 1 << 16;  // between two polls for Ctrl-C

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

// The well-formed character at text[at] as a number, and its length; length 0 if there is none.
struct Packed {
  std::uint64_t value;
  std::int64_t length;
};

// Three bytes from p[-1] on are read as one number; a character if this says so: a lead that any
// two continuation bytes may follow, and these.
std::uint32_t read_three(const std::uint8_t* p) {
  std::uint32_t four;
  std::memcpy(&four, p - 1, 4);
  return __builtin_bswap32(four) & 0xFFFFFF;
}

bool is_three(std::uint32_t value) {
  return (value & 0xF0C0C0) == 0xE08080 && value >= 0xE10000 && value < 0xED0000;
}

Packed read_packed(const std::uint8_t* text, std::int64_t end, std::int64_t at) {
  const std::uint8_t* p = text + at;
  if (p[0] < 0x80) return {p[0], 1};
  const std::int64_t length = decode_utf8(text, end, at).length;
  return length == 1 ? Packed{0, 0} : Packed{pack(p, length), length};
}

}  // namespace

JoinFilter::JoinFilter(const Vocabulary& vocabulary)
    : edges_(256 * 256 / 64), fragments_((1 << kFragmentBits) / 64) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> found;
  found.reserve(vocabulary.all_bytes().size());  // at most
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
      if (found.size() % kPollPairs == 0) poll_interrupt();
      std::int64_t right_length = decode_utf8(bytes, length, at).length;
      bool right_whole = true;
      if (cut_short(bytes + at, length - at)) {
        right_length = length - at;
        right_whole = false;
      }
      if (at - left <= 4 && right_length <= 4) {
        found.emplace_back(pack(bytes + left, at - left), pack(bytes + at, right_length));
        if (!left_whole || !right_whole) {
          add_fragment(bytes[at - 1], bytes + at, right_length, right_whole);
        }
      }
      left = at;
      left_whole = true;
      at += right_length;
    }
  }
  // How many are different, nearly: enough to choose a size, and quicker than sorting them.
  constexpr int kMaxBits = 20;
  std::vector<bool> seen(std::size_t{1} << kMaxBits);
  std::size_t different = 0;
  std::size_t done = 0;
  for (const auto& [left, right] : found) {
    if (++done % kPollPairs == 0) poll_interrupt();
    const std::uint64_t at = hash(left, right) >> (64 - kMaxBits);
    if (!seen[at]) ++different;
    seen[at] = true;
  }
  int bits = 12;
  while ((std::size_t{1} << bits) < different * 16 && bits < kMaxBits) ++bits;
  shift_ = 64 - bits;
  pairs_.assign((std::size_t{1} << bits) / 64, 0);
  for (const auto& [left, right] : found) {
    if (++done % kPollPairs == 0) poll_interrupt();
    const std::uint64_t at = hash(left, right);
    for (const std::uint64_t bit : {first_bit(at), second_bit(at)}) {
      pairs_[bit >> 6] |= 1ull << (bit & 63);
    }
  }
}

void JoinFilter::add_fragment(std::uint8_t left_last, const std::uint8_t* right,
                              std::int64_t right_length, bool right_whole) {
  const std::uint64_t edge = edge_bit(left_last, right[0]);
  edges_[edge >> 6] |= 1ull << (edge & 63);
  const auto set = [&](std::uint8_t second) {
    const std::uint64_t bit = fragment_bit(edge, second);
    fragments_[bit >> 6] |= 1ull << (bit & 63);
  };
  if (right_length > 1) {
    set(right[1]);
  } else if (right_whole) {
    set(0);
  } else {
    for (int second = 0x80; second < 0xC0; ++second) set(static_cast<std::uint8_t>(second));
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
  return may_hold_fragment(left[left_length - 1], right, right_length) &&
         fragments_join(left, left_length, right, right_length);
}

int JoinFilter::unit_ends(const std::uint8_t* text, std::int64_t begin, std::int64_t end,
                          std::int64_t* ends, int capacity) const {
  int count = 0;
  std::int64_t at = begin;
  Packed left = read_packed(text, end, at);
  while (count < capacity) {
    const std::int64_t next = at + (left.length != 0 ? left.length : 1);
    if (next >= end) {
      ends[count++] = end;
      break;
    }
    const Packed right = next + 3 <= end && is_three(read_three(text + next))
                             ? Packed{read_three(text + next), 3}
                             : read_packed(text, end, next);
    const bool joined = left.length == 0 || right.length == 0 || holds(left.value, right.value) ||
                        (may_hold_fragment(text[next - 1], text + next, right.length) &&
                         fragments_join(text + at, left.length, text + next, right.length));
    // Without a branch: whether characters join is hard to foretell.
    ends[count] = next;
    count += !joined;
    at = next;
    left = right;
  }
  return count;
}

std::int64_t JoinFilter::unit_end(const std::uint8_t* text, std::int64_t begin,
                                  std::int64_t end) const {
  std::int64_t first = 0;
  unit_ends(text, begin, end, &first, 1);
  return first;
}

}  // namespace tokfrag
