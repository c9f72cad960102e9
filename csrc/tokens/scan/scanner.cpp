#include "tokens/scan/scanner.hpp"

#include "tokens/scan/blanks.hpp"

namespace tokfrag {

namespace {

BlankScan::Scan scan_of(PatternFamily family) {
  switch (family) {
    case PatternFamily::kBlanks:
      return blank_kernels().every;
    case PatternFamily::kBlankRuns:
      return blank_kernels().runs;
    case PatternFamily::kBlankLines:
      return blank_kernels().lines;
    default:
      return scanner_kernels().scan[static_cast<int>(family)];
  }
}

}  // namespace

Scanner::Scanner(PatternFamily family, const std::uint8_t* text, std::int64_t size)
    : scan_(scan_of(family)), state_{} {
  state_.text = text;
  state_.size = size;
}

}  // namespace tokfrag
