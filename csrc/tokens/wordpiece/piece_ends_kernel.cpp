#include "tokens/wordpiece/piece_ends.hpp"

#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace tokfrag {

namespace {

constexpr std::int64_t kBlock = 64;

// A bit a byte that is in the set.
std::uint64_t members(const AsciiSet& set, const std::uint8_t* text) {
#if defined(__AVX2__)
  const __m256i bits = _mm256_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2,
                                        4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
  const __m256i rows =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(set.rows)));
  const auto outside = [&](const std::uint8_t* from) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
    // A byte beyond ASCII takes no row: shuffling by it gives zero.
    const __m256i found =
        _mm256_and_si256(_mm256_shuffle_epi8(rows, bytes), _mm256_shuffle_epi8(bits, high));
    return static_cast<std::uint32_t>(
        _mm256_movemask_epi8(_mm256_cmpeq_epi8(found, _mm256_setzero_si256())));
  };
  return ~(outside(text) | static_cast<std::uint64_t>(outside(text + 32)) << 32);
#else
  std::uint64_t found = 0;
  for (int i = 0; i < kBlock; ++i) {
    found |= static_cast<std::uint64_t>(set.holds(text[i])) << i;
  }
  return found;
#endif
}

// Bits moved to the next byte; the nearer of those before the block comes in.
std::uint64_t after(std::uint64_t bits, unsigned before) { return bits << 1 | (before & 1); }

unsigned last_two(std::uint64_t bits) {
  return static_cast<unsigned>(bits >> 63 | (bits >> 62 & 1) << 1);
}

std::int64_t next(const PieceSets& sets, const std::uint8_t* text, std::int64_t size,
                  PieceScan* scan, std::int64_t* ends, std::int64_t capacity) {
  std::int64_t count = 0;
  for (; scan->at <= size && count + kBlock <= capacity; scan->at += kBlock) {
    const std::int64_t left = size - scan->at;
    std::uint64_t spaces = 0;
    std::uint64_t alone = 0;
    if (left >= kBlock) {
      spaces = members(sets.spaces, text + scan->at);
      alone = members(sets.alone, text + scan->at);
    } else {
      std::uint8_t last[kBlock] = {};
      if (left > 0) std::memcpy(last, text + scan->at, static_cast<std::size_t>(left));
      // Spaces follow the text, so that its last word ends.
      const std::uint64_t beyond = ~std::uint64_t{0} << left;
      spaces = members(sets.spaces, last) | beyond;
      alone = members(sets.alone, last) & ~beyond;
    }
    const std::uint64_t words = ~(spaces | alone);
    const std::uint64_t after_two =
        after(spaces, scan->spaces) & (spaces << 2 | (scan->spaces & 1) << 1 | scan->spaces >> 1);
    std::uint64_t found =
        (after(words, scan->words) & ~words) | after(alone, scan->alone) | (after_two & ~spaces);
    for (; found != 0; found &= found - 1) ends[count++] = scan->at + __builtin_ctzll(found);
    scan->spaces = last_two(spaces);
    scan->alone = last_two(alone);
    scan->words = last_two(words);
  }
  return count;
}

}  // namespace

namespace TOKFRAG_ISA {

extern const PieceEnds piece_ends_table = {&next};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
