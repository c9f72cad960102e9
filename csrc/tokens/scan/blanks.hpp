// Pieces that begin at blanks, for vocabularies whose words carry their blank (a metaspace) in
// front: bytes of other characters are not looked at.
#pragma once

#include <cstdint>

#include "core/isa.hpp"
#include "tokens/scan/scanner.hpp"

namespace tokfrag {

struct BlankScan {
  using Scan = std::int64_t (*)(ScanState*, std::int64_t* ends, std::int64_t capacity);
  Scan every;  // a piece begins at each blank
  Scan runs;   // at each blank that no blank stands before
  Scan lines;  //   and where newlines begin or end
};

TOKFRAG_ISA_TABLE(BlankScan, blank_scan, blank_kernels)

}  // namespace tokfrag
