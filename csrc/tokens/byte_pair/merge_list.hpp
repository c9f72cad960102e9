// Which tokens of a vocabulary a file's list of merges names, before bytes come into it.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/text/text.hpp"

namespace tokfrag {

// Looks up merge i, left[i] and right[i], among different tokens, all by code units (unit not 0;
// ASCII is 1): pairs[2 i] and pairs[2 i + 1] become their places. Returns the first merge of which
// a part, or what both join to, is no token; -1 if there is none. O(total length), expected.
std::int64_t find_merges(const std::vector<Text>& tokens, const std::vector<Text>& left,
                         const std::vector<Text>& right, std::int64_t* pairs);

}  // namespace tokfrag
