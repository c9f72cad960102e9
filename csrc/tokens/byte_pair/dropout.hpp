// Encoding with BPE-dropout: every piece merges from its bytes, without the word cache.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/byte_pair/model.hpp"

namespace tokfrag {

struct Dropout {
  double probability;  // that a merge is passed over, each time it comes up
  std::uint64_t seed;
};

// The ids of many texts, as Model::encode_batch gives them. The piece of text i that begins at byte
// b draws from stream streams[i] + b, so that no order of work changes the result.
TokenBuffer encode_with_dropout(const Model& model, const std::vector<Text>& texts,
                                AllowedSpecial allowed, const std::uint64_t* streams,
                                Dropout dropout, int threads, std::int64_t* offsets);

// The same for one text already cut into pieces: piece i is text[ends[i - 1], ends[i]).
TokenBuffer encode_with_dropout(const Model& model, Utf8 text, const std::int64_t* ends,
                                std::int64_t count, std::uint64_t stream, Dropout dropout);

}  // namespace tokfrag
