#include "tokens/scan/scanner.hpp"

namespace tokfrag {

Scanner::Scanner(PatternFamily family, const std::uint8_t* text, std::int64_t size)
    : scan_(scanner_kernels().scan[static_cast<int>(family)]), state_{} {
  state_.text = text;
  state_.size = size;
}

}  // namespace tokfrag
