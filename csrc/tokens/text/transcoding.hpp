// The code units of Python strings to UTF-8.
#pragma once

#include <cstdint>

#include "core/isa.hpp"

namespace tokfrag {

struct Transcoding {
  // Bytes that may be written behind the last.
  static constexpr std::int64_t kSlack = 32;

  // Writes units[0, count) to `out` and returns the end. A lone surrogate becomes U+FFFD.
  std::uint8_t* (*latin1)(const std::uint8_t* units, std::int64_t count, std::uint8_t* out);
  std::uint8_t* (*ucs2)(const std::uint16_t* units, std::int64_t count, std::uint8_t* out);
  std::uint8_t* (*ucs4)(const std::uint32_t* units, std::int64_t count, std::uint8_t* out);
};

TOKFRAG_ISA_TABLE(Transcoding, transcoding, transcoding_kernels)

}  // namespace tokfrag
