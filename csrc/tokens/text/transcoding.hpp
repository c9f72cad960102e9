// The code units of Python strings to UTF-8.
#pragma once

#include <cstdint>

#include "core/isa.hpp"

namespace tokfrag {

struct Transcoding {
  // Writes units[0, count) to `out` and returns the end, behind which up to kUtf8Slack bytes
  // (tokens/text/text.hpp) are overwritten. A lone surrogate becomes U+FFFD.
  std::uint8_t* (*latin1)(const std::uint8_t* units, std::int64_t count, std::uint8_t* out);
  std::uint8_t* (*ucs2)(const std::uint16_t* units, std::int64_t count, std::uint8_t* out);
  std::uint8_t* (*ucs4)(const std::uint32_t* units, std::int64_t count, std::uint8_t* out);
};

TOKFRAG_ISA_TABLE(Transcoding, transcoding, transcoding_kernels)

}  // namespace tokfrag
