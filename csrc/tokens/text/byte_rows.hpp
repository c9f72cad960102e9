// Every byte value, thirty-two times over: what a vector of bytes is compared with is then read by
// the comparison itself, where building it takes three instructions.
#pragma once

#include <cstdint>

namespace tokfrag {

struct ByteRows {
  std::uint8_t all[256][32];  // row b is all b
};

// Defined in another file, so that compilers do not see through it.
extern const ByteRows kByteRows;

}  // namespace tokfrag
