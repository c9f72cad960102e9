// The text format of tiktoken vocabularies: a line a token, its bytes in base64, a space, its rank.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tokfrag {

struct RankedTokens {
  std::string bytes;                  // of all tokens, in the order of their ranks
  std::vector<std::int64_t> offsets;  // token i is bytes[offsets[i], offsets[i + 1])
  std::vector<std::uint32_t> ranks;
  std::vector<std::int64_t> lines;  // where each was, from 1
};

// Reads a whole file strictly: throws std::invalid_argument naming the line of the first fault
// (junk, an empty token, a repeated rank, a rank above 2^24 - 1). LF and CR LF end
// lines; ranks may come in any order and leave gaps.
RankedTokens parse_tiktoken(std::string_view file);

}  // namespace tokfrag
