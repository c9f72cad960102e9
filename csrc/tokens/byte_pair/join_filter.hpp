// Where a long piece can be split without changing its ids.
//
// Merging only ever makes tokens, so nothing merges across two characters that stand side by side
// in no token: a piece can be cut there, and the parts encoded (and cached) one by one. Chinese or
// Thai, hundreds of bytes without a space, becomes units of a few bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/byte_pair/vocabulary.hpp"

namespace tokfrag {

class JoinFilter {
 public:
  // Empty: to be filled from an archive.
  JoinFilter() = default;
  explicit JoinFilter(const Vocabulary& vocabulary);

  // The end of the unit that begins at `begin`: the first place in (begin, end] that no token
  // spans, or one a little later (the filter never says "cut" wrongly; it may say "joined").
  std::int64_t unit_end(const std::uint8_t* text, std::int64_t begin, std::int64_t end) const;

  // The ends of the units of text[begin, end), in order, at most `capacity` of them; returns how
  // many. The last is `end` unless there was no room.
  int unit_ends(const std::uint8_t* text, std::int64_t begin, std::int64_t end, std::int64_t* ends,
                int capacity) const;

  // Whether a token may span the place between two neighbouring well-formed characters.
  bool may_join(const std::uint8_t* left, std::int64_t left_length, const std::uint8_t* right,
                std::int64_t right_length) const;

  // Whether no lookup reads outside the tables.
  bool is_sound() const {
    if (shift_ < 32 || shift_ > 58 || edges_.size() != 256 * 256 / 64) return false;
    return pairs_.size() == (std::size_t{1} << (64 - shift_)) / 64 &&
           fragments_.size() == (std::size_t{1} << kFragmentBits) / 64;
  }

  template <class Archive, class Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.pairs_, self.shift_, self.edges_, self.fragments_);
  }

 private:
  // Two bits a pair.
  std::uint64_t hash(std::uint64_t left, std::uint64_t right) const {
    return (left << 32 | right) * 0x9E3779B97F4A7C15ull;
  }
  std::uint64_t first_bit(std::uint64_t hash) const { return hash >> shift_; }
  std::uint64_t second_bit(std::uint64_t hash) const { return hash << 20 >> shift_; }
  bool holds(std::uint64_t left, std::uint64_t right) const {
    const std::uint64_t at = hash(left, right);
    const std::uint64_t first = first_bit(at);
    const std::uint64_t second = second_bit(at);
    return (pairs_[first >> 6] >> (first & 63) & pairs_[second >> 6] >> (second & 63) & 1) != 0;
  }

  // Fragments are looked for by the bytes on both sides of the place; then, where these agree, with
  // the second byte of the right (0: there is none).
  static constexpr int kFragmentBits = 18;
  static std::uint64_t edge_bit(std::uint8_t left_last, std::uint8_t right_first) {
    return static_cast<std::uint64_t>(left_last) << 8 | right_first;
  }
  static std::uint64_t fragment_bit(std::uint64_t edge, std::uint8_t second) {
    return ((edge << 8 | second) * 0x9E3779B97F4A7C15ull) >> (64 - kFragmentBits);
  }
  bool may_hold_fragment(std::uint8_t left_last, const std::uint8_t* right,
                         std::int64_t right_length) const {
    const std::uint64_t edge = edge_bit(left_last, right[0]);
    if ((edges_[edge >> 6] >> (edge & 63) & 1) == 0) return false;
    const std::uint64_t bit = fragment_bit(edge, right_length > 1 ? right[1] : std::uint8_t{0});
    return (fragments_[bit >> 6] >> (bit & 63) & 1) != 0;
  }
  void add_fragment(std::uint8_t left_last, const std::uint8_t* right, std::int64_t right_length,
                    bool right_whole);
  bool fragments_join(const std::uint8_t* left, std::int64_t left_length, const std::uint8_t* right,
                      std::int64_t right_length) const;

  // The (left character, right character) that stand together in a token, as a Bloom filter of a
  // size for the nearest cache. Where a token begins or ends inside a character, the fragment
  // stands for the character.
  std::vector<std::uint64_t> pairs_;
  int shift_ = 0;
  // Whether to look for fragments: by edge_bit, and by fragment_bit.
  std::vector<std::uint64_t> edges_;
  std::vector<std::uint64_t> fragments_;
};

}  // namespace tokfrag
