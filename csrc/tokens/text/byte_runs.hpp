// How far a text goes on with bytes that need no look.
#pragma once

#include <cstdint>

#include "core/isa.hpp"

namespace tokfrag {

// A set of ASCII bytes. Byte h << 4 | l is in it if bit h of rows[l] is set, so that sixteen bytes
// and more are looked up by two shuffles.
struct AsciiSet {
  std::uint8_t rows[16] = {};

  void add(std::uint8_t byte) {
    rows[byte & 15] = static_cast<std::uint8_t>(rows[byte & 15] | 1u << (byte >> 4));
  }
  bool holds(std::uint8_t byte) const {
    return byte < 0x80 && (rows[byte & 15] >> (byte >> 4) & 1) != 0;
  }
};

struct ByteRuns {
  // How many bytes a text begins with that are in the set.
  std::int64_t (*members)(const AsciiSet& set, const std::uint8_t* text, std::int64_t size);
  // The same, ended too by a blank that another follows.
  std::int64_t (*words)(const AsciiSet& set, const std::uint8_t* text, std::int64_t size);
  // Where the first blank is that another follows; `size` if there is none.
  std::int64_t (*double_blank)(const std::uint8_t* text, std::int64_t size);
};

TOKFRAG_ISA_TABLE(ByteRuns, byte_runs_table, byte_runs)

}  // namespace tokfrag
