// Small byte-pair models out of a fuzzer's input.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "input.hpp"
#include "tokens/byte_pair/model.hpp"

namespace fuzz {

// The 256 bytes, in an order of the input's, and up to 60 tokens joined from those before them.
inline tokfrag::Model make_model(Input& input) {
  std::vector<std::string> tokens;
  const auto turn = static_cast<int>(input.below(256));
  for (int byte = 0; byte < 256; ++byte) {
    tokens.emplace_back(1, static_cast<char>((byte + turn) % 256));
  }
  std::set<std::string> known(tokens.begin(), tokens.end());
  std::vector<tokfrag::Symbol> left;
  std::vector<tokfrag::Symbol> right;
  const std::int64_t wanted = input.below(60);
  for (std::int64_t i = 0; i < wanted; ++i) {
    // Mostly of letters, which texts have, or of what was joined lately.
    const auto pick = [&] {
      const auto count = static_cast<std::int64_t>(tokens.size());
      if (input.byte() % 3 == 0)
        return input.between(std::max<std::int64_t>(0, count - 9), count - 1);
      return (input.below(96) + 32 - turn + 256) % 256;
    };
    const std::int64_t a = pick();
    const std::int64_t b = pick();
    std::string joined = tokens[static_cast<std::size_t>(a)] + tokens[static_cast<std::size_t>(b)];
    if (joined.size() > 40 || !known.insert(joined).second) continue;
    left.push_back(static_cast<tokfrag::Symbol>(a));
    right.push_back(static_cast<tokfrag::Symbol>(b));
    tokens.push_back(std::move(joined));
  }
  std::string bytes;
  std::vector<std::int64_t> offsets{0};
  std::vector<std::uint32_t> ids;
  for (const std::string& token : tokens) {
    bytes += token;
    offsets.push_back(static_cast<std::int64_t>(bytes.size()));
    ids.push_back(static_cast<std::uint32_t>(ids.size()) * 3);
  }
  tokfrag::Vocabulary vocabulary(std::move(bytes), std::move(offsets), std::move(ids));
  tokfrag::PairTable pairs = input.byte() % 2 == 0
                                 ? tokfrag::PairTable::from_ranks(vocabulary)
                                 : tokfrag::PairTable::from_merges(vocabulary, left, right);
  std::optional<tokfrag::PatternFamily> family;
  if (const auto number = input.below(tokfrag::kLetterFamilies + 1);
      number < tokfrag::kLetterFamilies) {
    family = static_cast<tokfrag::PatternFamily>(number);
  }
  return {tokfrag::Tables(std::move(vocabulary), std::move(pairs)),
          input.byte() % 2 == 0,
          family,
          {{"<|e|>", 1}, {"<|e", 4}}};
}

}  // namespace fuzz
