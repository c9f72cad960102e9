// Pre-tokenisation: cuts UTF-8 text into the pieces of a pattern.
//
// The pieces cover the text, in order, and none is empty. A byte outside any well-formed UTF-8
// sequence counts as one U+FFFD (punctuation). Cost: linear, constant memory and stack.
#pragma once

#include <cstdint>

#include "core/isa.hpp"
#include "tokens/scan/patterns.hpp"

namespace tokfrag {

// Where a scan stands between two calls.
struct ScanState {
  const std::uint8_t* text = nullptr;
  std::int64_t size = 0;
  std::int64_t last = 0;     // where the piece now open begins
  std::int64_t base = -64;   // of the block of 64 bytes at hand
  std::uint64_t starts = 0;  // where pieces begin in it that are not yet given out
  std::uint64_t doubts = 0;  // where only the scalar scanner can tell
  bool scalar = false;       // piece by piece, up to a place that the block scanner understands
  std::int64_t doubt = 0;    //   and past this one

  // What the block scanner remembers of the block before: its top bits, and what reaches over.
  struct Before {
    std::uint64_t letter = 0;
    std::uint64_t lower = 0;
    std::uint64_t caseless = 0;
    std::uint64_t number = 0;
    std::uint64_t number_starts = 0;
    std::uint64_t space = 0;
    std::uint64_t newline = 0;
    std::uint64_t blank = 0;
    std::uint64_t other = 0;
    std::uint64_t tail = 0;
    std::uint64_t lone_other = 0;
    std::uint64_t apart = 0;
    std::uint64_t prefixed = 0;  // ASCII words that took punctuation
    std::uint64_t numeric = 0;   // bytes that stand for numbers
    std::uint64_t digits = 0;    //   and of them the ASCII ones
    std::uint64_t set = 0;       // starts that a contraction makes in this block
    std::uint64_t clear = 0;     // and that it takes away
    int bytes = 0;               // of a character cut by the edge
    std::uint8_t kind = 0;       //   its class
    std::int64_t suffix_end = -1;
  } before;
};

// Scanner scanner(family, text, size);
// while ((count = scanner.next(ends, capacity)) != 0) { ... pieces end at ends[0..count) ... }
class Scanner {
 public:
  static constexpr std::int64_t kMinCapacity = 128;

  // The text must stay in place while the scanner is used; no byte past text[size - 1] is read.
  Scanner(PatternFamily family, const std::uint8_t* text, std::int64_t size);

  // Writes the ends (offsets into the text) of the next pieces to ends[0..capacity), capacity at
  // least kMinCapacity, and returns how many; 0 at the end of the text. Each piece begins where
  // the one before ended, the first at 0.
  std::int64_t next(std::int64_t* ends, std::int64_t capacity) {
    return scan_(&state_, ends, capacity);
  }

 private:
  using Scan = std::int64_t (*)(ScanState*, std::int64_t* ends, std::int64_t capacity);
  Scan scan_;
  ScanState state_;
};

struct ScannerTable {
  std::int64_t (*scan[kLetterFamilies])(ScanState*, std::int64_t* ends,
                                        std::int64_t capacity);  // by family
};

TOKFRAG_ISA_TABLE(ScannerTable, scanner_table, scanner_kernels)

}  // namespace tokfrag
