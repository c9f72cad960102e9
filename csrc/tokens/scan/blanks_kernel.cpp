// Sixty-four bytes at a time: where blanks (and newlines) are is where pieces begin.

#include "tokens/scan/blanks.hpp"

#include <cstdint>
#include <cstring>

#include "tokens/text/byte_block.hpp"

namespace tokfrag {

namespace {

enum class Cut { kEvery, kRuns, kLines };

// Where pieces begin in the 64 bytes at `text`, of which `left` are there.
template <Cut cut>
std::uint64_t starts_at(const std::uint8_t* text, std::int64_t left, ScanState::Before* before) {
  std::uint8_t copy[64] = {};
  if (left < 64) {
    std::memcpy(copy, text, static_cast<std::size_t>(left));
    text = copy;
  }
  const ByteBlock block(text);
  const std::uint64_t blanks = block.equal(' ');
  if constexpr (cut == Cut::kEvery) return blanks;
  std::uint64_t starts = blanks & ~(blanks << 1 | before->blank);
  before->blank = blanks >> 63;
  if constexpr (cut == Cut::kLines) {
    const std::uint64_t newlines = block.equal('\n');
    starts |= newlines ^ (newlines << 1 | before->newline);
    before->newline = newlines >> 63;
  }
  return left < 64 ? starts & ((std::uint64_t{1} << left) - 1) : starts;
}

template <Cut cut>
std::int64_t scan_blanks(ScanState* state, std::int64_t* ends, std::int64_t capacity) {
  ScanState& at = *state;
  if (at.last == at.size) return 0;
  std::int64_t count = 0;
  for (;;) {
    const std::int64_t room = capacity - count;
    for (; at.starts != 0 && count < capacity; at.starts &= at.starts - 1) {
      const std::int64_t start = at.base + __builtin_ctzll(at.starts);
      ends[count] = start;
      count += start > 0;
    }
    if (at.starts != 0 || room == 0) break;
    at.base += 64;
    if (at.base >= at.size) {
      if (count == capacity) {
        at.base -= 64;
        break;
      }
      ends[count++] = at.size;
      break;
    }
    at.starts = starts_at<cut>(at.text + at.base, at.size - at.base, &at.before);
  }
  if (count > 0) at.last = ends[count - 1];
  return count;
}

}  // namespace

namespace TOKFRAG_ISA {

extern const BlankScan blank_scan = {&scan_blanks<Cut::kEvery>, &scan_blanks<Cut::kRuns>,
                                     &scan_blanks<Cut::kLines>};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
