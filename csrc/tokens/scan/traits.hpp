// What some patterns ask of a character besides its class: \p{Han}, [\p{P}\p{S}], what Hugging
// Face's Punctuation takes for such (beyond ASCII it is \p{P} of an earlier Unicode), and Rust's
// \w.
#pragma once

#include <cstdint>

namespace tokfrag {

enum Trait : std::uint8_t { kHan = 1, kSymbol = 2, kPunctuation = 4, kOfWords = 8 };

extern const std::uint8_t kTraitPageOf[8704];  // the page of each 128 code points
extern const char kTraitPages[];               // '0' and on: the sum of the traits of a code point

// Internal linkage, because kernels compiled for several instruction sets include this.
namespace {

inline bool has_trait(std::uint32_t code_point, Trait trait) {
  const std::uint32_t page = kTraitPageOf[code_point >> 7];
  return ((kTraitPages[page * 128 + (code_point & 127)] - '0') & trait) != 0;
}

}  // namespace

}  // namespace tokfrag
