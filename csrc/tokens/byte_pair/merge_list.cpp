#include "tokens/byte_pair/merge_list.hpp"

#include <algorithm>

#include "core/interrupt.hpp"
#include "tokens/byte_pair/vocabulary.hpp"

namespace tokfrag {

namespace {

std::uint32_t unit_at(const Text& text, std::int64_t at) {
  if (text.unit == 1) return static_cast<const std::uint8_t*>(text.data)[at];
  if (text.unit == 2) return static_cast<const std::uint16_t*>(text.data)[at];
  return static_cast<const std::uint32_t*>(text.data)[at];
}

std::uint64_t extend_hash(std::uint64_t hash, const Text& text) {
  for (std::int64_t i = 0; i < text.length; ++i) hash = hash * kHashBase + unit_at(text, i) + 1;
  return hash;
}

// Whether text holds `part` from `at` on.
bool holds(const Text& text, std::int64_t at, const Text& part) {
  for (std::int64_t i = 0; i < part.length; ++i) {
    if (unit_at(text, at + i) != unit_at(part, i)) return false;
  }
  return true;
}

class TokenTable {
 public:
  explicit TokenTable(const std::vector<Text>& tokens) : tokens_(tokens) {
    std::size_t capacity = 1024;
    while (capacity < tokens.size() * 2) capacity *= 2;
    slots_.assign(capacity, Slot{0, kNoSymbol});
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const std::uint64_t hash = mix_hash(extend_hash(0, tokens[i]));
      std::size_t at = hash & (capacity - 1);
      while (slots_[at].token != kNoSymbol) at = (at + 1) & (capacity - 1);
      slots_[at] = {static_cast<std::uint32_t>(hash >> 32), static_cast<std::uint32_t>(i)};
    }
  }

  void prefetch(std::uint64_t hash) const {
    __builtin_prefetch(&slots_[hash & (slots_.size() - 1)]);
  }
  // The token that is `left` and then `right`; -1 if there is none.
  std::int64_t find(std::uint64_t hash, const Text& left, const Text& right) const {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
      const Slot& slot = slots_[at];
      if (slot.token == kNoSymbol) return -1;
      if (slot.tag != static_cast<std::uint32_t>(hash >> 32)) continue;
      const Text& token = tokens_[slot.token];
      if (token.length == left.length + right.length && holds(token, 0, left) &&
          holds(token, left.length, right)) {
        return slot.token;
      }
    }
  }

 private:
  struct Slot {
    std::uint32_t tag;
    std::uint32_t token;
  };
  const std::vector<Text>& tokens_;
  std::vector<Slot> slots_;  // open addressing, at most half full
};

struct Hashes {
  std::uint64_t left;
  std::uint64_t right;
  std::uint64_t joined;
};

}  // namespace

std::int64_t find_merges(const std::vector<Text>& tokens, const std::vector<Text>& left,
                         const std::vector<Text>& right, std::int64_t* pairs) {
  constexpr Text kNothing{nullptr, 0, 1};
  constexpr std::size_t kBlock = 64;  // merges hashed, their places asked for, then looked up
  const TokenTable table(tokens);
  Hashes hashes[kBlock];
  for (std::size_t begin = 0; begin < left.size(); begin += kBlock) {
    poll_interrupt();
    const std::size_t end = std::min(begin + kBlock, left.size());
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint64_t before = extend_hash(0, left[i]);
      Hashes& hash = hashes[i - begin];
      hash = {mix_hash(before), mix_hash(extend_hash(0, right[i])),
              mix_hash(extend_hash(before, right[i]))};
      table.prefetch(hash.left);
      table.prefetch(hash.right);
      table.prefetch(hash.joined);
    }
    for (std::size_t i = begin; i < end; ++i) {
      const Hashes& hash = hashes[i - begin];
      pairs[2 * i] = table.find(hash.left, left[i], kNothing);
      pairs[2 * i + 1] = table.find(hash.right, right[i], kNothing);
      const std::int64_t joined = table.find(hash.joined, left[i], right[i]);
      if (pairs[2 * i] < 0 || pairs[2 * i + 1] < 0 || joined < 0) {
        return static_cast<std::int64_t>(i);
      }
    }
  }
  return -1;
}

}  // namespace tokfrag
