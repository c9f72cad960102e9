// Pre-tokenisation: cuts UTF-8 text into the pieces of a pattern.
//
// The pieces cover the text, in order, and none is empty. A byte outside any well-formed UTF-8
// sequence counts as one U+FFFD (punctuation). Cost: linear, constant memory and stack.
#pragma once

#include <cstdint>

#include "tokens/patterns.hpp"

namespace tokfrag {

// Scanner scanner(family, text, size);
// while ((count = scanner.next(ends, capacity)) != 0) { ... pieces end at ends[0..count) ... }
class Scanner {
 public:
  static constexpr std::int64_t kMinCapacity = 128;

  // The text must stay in place while the scanner is used; no byte past text[size - 1] is read.
  Scanner(PatternFamily family, const std::uint8_t* text, std::int64_t size)
      : text_(text), size_(size), family_(family) {}

  // Writes the ends (offsets into the text) of the next pieces to ends[0..capacity), capacity at
  // least kMinCapacity, and returns how many; 0 at the end of the text. Each piece begins where
  // the one before ended, the first at 0.
  std::int64_t next(std::int64_t* ends, std::int64_t capacity);

 private:
  const std::uint8_t* text_;
  std::int64_t size_;
  std::int64_t position_ = 0;
  PatternFamily family_;
};

}  // namespace tokfrag
