// For each byte of a mask: which of eight consecutive values each kept column takes; 0x80: none,
// for which byte shuffles write zero.
#pragma once

#include <cstdint>

namespace tokfrag::sparse {

struct ExpandTable {
  std::uint8_t source[256][8];
  constexpr ExpandTable() : source() {
    for (int mask = 0; mask < 256; ++mask) {
      std::uint8_t next = 0;
      for (int bit = 0; bit < 8; ++bit) {
        source[mask][bit] = (mask >> bit & 1) != 0 ? next++ : std::uint8_t{0x80};
      }
    }
  }
};

inline constexpr ExpandTable kExpand{};

}  // namespace tokfrag::sparse
