// Which two neighbouring symbols merge, when, and into what.
#pragma once

#include <cstdint>
#include <vector>

#include "core/huge_buffer.hpp"
#include "tokens/byte_pair/pair_view.hpp"
#include "tokens/byte_pair/vocabulary.hpp"

namespace tokfrag {

class PairTable {
 public:
  // Empty: to be filled from an archive.
  PairTable() = default;

  // Every pair whose joined bytes are a token merges into it, at the token's rank (its symbol):
  // tiktoken's rule.
  static PairTable from_ranks(const Vocabulary& vocabulary);

  // merges[i] joins left[i] and right[i] at rank i: the rule of files that list their merges.
  // Throws std::invalid_argument if a joined token is missing or a pair is listed twice.
  static PairTable from_merges(const Vocabulary& vocabulary, const std::vector<Symbol>& left,
                               const std::vector<Symbol>& right);

  Rank find(Symbol left, Symbol right) const { return find_rank(view(), left, right); }
  Rank find_bytes(std::uint8_t left, std::uint8_t right) const {
    return byte_pairs_[static_cast<std::size_t>(left) * 256 + right];
  }
  Symbol merged(Rank rank) const { return merged_.empty() ? rank : merged_[rank]; }
  const Rank* byte_pairs() const { return byte_pairs_.data(); }
  std::int64_t size() const { return count_; }

  PairView view() const {
    return {slots_.as<std::uint64_t>(),
            mask_,
            shift_,
            filter_.data(),
            filter_shift_,
            merged_.empty() ? nullptr : merged_.data()};
  }

  // Whether no lookup reads outside the tables or runs for ever.
  bool is_sound(const Vocabulary& vocabulary) const;

  template <class Archive, class Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.slots_, self.mask_, self.shift_, self.filter_, self.filter_shift_, self.count_,
            self.byte_pairs_, self.merged_);
  }

 private:
  struct Pair {
    std::uint64_t key;
    Rank rank;
  };

  PairTable(const Vocabulary& vocabulary, const std::vector<Pair>& pairs);

  HugeBuffer slots_;  // of 64 bits: key (42), rank (22); open addressing, at most half full
  std::uint64_t mask_ = 0;
  int shift_ = 0;
  // A bit for each pair at its hash: most lookups find nothing, and this is sixteen times smaller.
  std::vector<std::uint64_t> filter_;
  int filter_shift_ = 0;
  std::int64_t count_ = 0;
  std::vector<Rank> byte_pairs_;  // 256 x 256
  std::vector<Symbol> merged_;    // by rank; empty: the rank itself
};

}  // namespace tokfrag
