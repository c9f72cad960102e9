// Cutting one long text into stretches that several threads can encode, without changing its ids.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/byte_pair/encoder.hpp"

namespace tokfrag {

// Stretches of about `target` bytes (longer where no cut is safe) that cover the text in order.
//
// Every pattern begins a piece at a space between two ASCII letters: a cut there is free. Where
// there is none, as in Chinese, a cut goes between two caseless letters that no token spans: the
// piece goes on behind it, and both of its parts merge as they would have in the whole.
std::vector<Stretch> cut_text(const Encoder& encoder, const std::uint8_t* text, std::int64_t size,
                              std::int64_t target);

}  // namespace tokfrag
