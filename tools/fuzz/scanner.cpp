// Every family's scanner on any bytes, at any alignment: pieces lie end to end and cover the text,
// wherever it lies and however few ends are asked for at a time.
#include "tokens/scan/scanner.hpp"

#include <vector>

#include "input.hpp"

namespace {

std::vector<std::int64_t> ends_of(tokfrag::PatternFamily family, const std::uint8_t* text,
                                  std::int64_t size, std::int64_t capacity) {
  std::vector<std::int64_t> ends;
  std::vector<std::int64_t> some(static_cast<std::size_t>(capacity));
  tokfrag::Scanner scanner(family, text, size);
  while (const std::int64_t count = scanner.next(some.data(), capacity)) {
    ends.insert(ends.end(), some.begin(), some.begin() + count);
  }
  return ends;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto family = static_cast<tokfrag::PatternFamily>(input.below(tokfrag::kLetterFamilies));
  const std::int64_t shift = input.below(65);
  const fuzz::Exact text(input.rest(), input.left(), shift);
  const auto ends = ends_of(family, text.data(), input.left(), 1024);
  std::int64_t before = 0;
  for (const std::int64_t end : ends) {
    fuzz::check(end > before, "pieces are not empty");
    before = end;
  }
  fuzz::check(before == input.left(), "pieces cover the text");
  const fuzz::Exact moved(input.rest(), input.left());
  const auto again = ends_of(family, moved.data(), input.left(), tokfrag::Scanner::kMinCapacity);
  fuzz::check(again == ends, "pieces do not depend on where the text lies");
  return 0;
}
