#include "tokens/scanner.hpp"

#include "tokens/advance.hpp"

namespace tokfrag {

namespace {

template <PatternFamily family>
std::int64_t scan(const std::uint8_t* text, std::int64_t size, std::int64_t* position,
                  std::int64_t* ends, std::int64_t capacity) {
  const Advance<family> advance{text, size};
  std::int64_t count = 0;
  std::int64_t at = *position;
  while (at < size && count < capacity) {
    at = advance(at);
    ends[count++] = at;
  }
  *position = at;
  return count;
}

}  // namespace

std::int64_t Scanner::next(std::int64_t* ends, std::int64_t capacity) {
  switch (family_) {
    case PatternFamily::kGpt2:
      return scan<PatternFamily::kGpt2>(text_, size_, &position_, ends, capacity);
    case PatternFamily::kCl100k:
      return scan<PatternFamily::kCl100k>(text_, size_, &position_, ends, capacity);
    case PatternFamily::kO200k:
      return scan<PatternFamily::kO200k>(text_, size_, &position_, ends, capacity);
    case PatternFamily::kLlama3:
      return scan<PatternFamily::kLlama3>(text_, size_, &position_, ends, capacity);
    case PatternFamily::kQwen2:
      return scan<PatternFamily::kQwen2>(text_, size_, &position_, ends, capacity);
  }
  return 0;
}

}  // namespace tokfrag
