// What is computed from the tokens and merges alone: everything that takes time to load.
#pragma once

#include "tokens/byte_pair/archive.hpp"
#include "tokens/byte_pair/join_filter.hpp"
#include "tokens/byte_pair/pair_table.hpp"
#include "tokens/byte_pair/vocabulary.hpp"

namespace tokfrag {

struct Tables {
  Tables() = default;
  Tables(Vocabulary all_tokens, PairTable all_pairs)
      : vocabulary(std::move(all_tokens)), pairs(std::move(all_pairs)), joins(vocabulary) {}

  template <class Archive, class Self>
  static void fields(Archive& archive, Self& self) {
    Vocabulary::fields(archive, self.vocabulary);
    PairTable::fields(archive, self.pairs);
    JoinFilter::fields(archive, self.joins);
  }

  // Whether tables that came from outside can be used without harm: their answers may still be
  // wrong, but no lookup leaves them.
  bool are_sound() const {
    return vocabulary.is_sound() && pairs.is_sound(vocabulary) && joins.is_sound();
  }

  Vocabulary vocabulary;
  PairTable pairs;
  JoinFilter joins;
};

}  // namespace tokfrag
