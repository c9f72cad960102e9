// Where a long piece can be split without changing its ids.
//
// Merging only ever makes tokens, so nothing merges across two characters that stand side by side
// in no token: a piece can be cut there, and the parts encoded (and cached) one by one. Chinese or
// Thai, hundreds of bytes without a space, becomes units of a few bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/vocabulary.hpp"

namespace tokfrag {

class JoinFilter {
 public:
  explicit JoinFilter(const Vocabulary& vocabulary);

  // The end of the unit that begins at `begin`: the first place in (begin, end] that no token
  // spans, or one a little later (the filter never says "cut" wrongly; it may say "joined").
  std::int64_t unit_end(const std::uint8_t* text, std::int64_t begin, std::int64_t end) const;

  // Whether a token may span the place between two neighbouring well-formed characters.
  bool may_join(const std::uint8_t* left, std::int64_t left_length, const std::uint8_t* right,
                std::int64_t right_length) const;

 private:
  struct Pair {
    std::uint64_t left;
    std::uint64_t right;
  };

  std::uint64_t place(std::uint64_t left, std::uint64_t right) const {
    return ((left << 32 | right) * 0x9E3779B97F4A7C15ull) >> shift_;
  }
  bool holds(std::uint64_t left, std::uint64_t right) const {
    const std::uint64_t bit = place(left, right);
    return ((pairs_[bit >> 6] >> (bit & 63)) & 1) != 0;
  }
  bool fragments_join(const std::uint8_t* left, std::int64_t left_length, const std::uint8_t* right,
                      std::int64_t right_length) const;

  // A bit for each (left character, right character) that stand together in a token, at its hash.
  // Where a token begins or ends inside a character, the fragment stands for the character.
  std::vector<std::uint64_t> pairs_;
  int shift_ = 0;
  // A bit by the last byte of the left and the first of the right: whether any pair with a fragment
  // has those.
  std::vector<std::uint64_t> fragments_;
};

}  // namespace tokfrag
