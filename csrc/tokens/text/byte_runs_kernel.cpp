#include "tokens/text/byte_runs.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace tokfrag {

namespace {

#if defined(__AVX2__)

constexpr std::int64_t kBlock = 32;

class Block {
 public:
  explicit Block(const std::uint8_t* text)
      : bytes_(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(text))) {}

  std::uint32_t outside(__m256i rows) const {
    const __m256i bits = _mm256_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0, 1,
                                          2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes_, 4), _mm256_set1_epi8(15));
    // A byte beyond ASCII takes no row: shuffling by it gives zero.
    const __m256i found =
        _mm256_and_si256(_mm256_shuffle_epi8(rows, bytes_), _mm256_shuffle_epi8(bits, high));
    return mask(_mm256_cmpeq_epi8(found, _mm256_setzero_si256()));
  }
  std::uint32_t blanks() const { return mask(_mm256_cmpeq_epi8(bytes_, _mm256_set1_epi8(' '))); }

 private:
  static std::uint32_t mask(__m256i bytes) {
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes));
  }
  __m256i bytes_;
};

using Rows = __m256i;

Rows rows_of(const AsciiSet& set) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(set.rows)));
}

#else

constexpr std::int64_t kBlock = 32;

class Block {
 public:
  explicit Block(const std::uint8_t* text) : text_(text) {}
  std::uint32_t outside(const AsciiSet& set) const {
    return each([&](std::uint8_t byte) { return !set.holds(byte); });
  }
  std::uint32_t blanks() const {
    return each([](std::uint8_t byte) { return byte == ' '; });
  }

 private:
  template <class Test>
  std::uint32_t each(Test test) const {
    std::uint32_t bits = 0;
    for (int i = 0; i < kBlock; ++i) bits |= static_cast<std::uint32_t>(test(text_[i])) << i;
    return bits;
  }
  const std::uint8_t* text_;
};

using Rows = const AsciiSet&;

Rows rows_of(const AsciiSet& set) { return set; }

#endif

// Which blanks of a block another follows; `next`: whether a blank follows the block.
std::uint32_t doubled(std::uint32_t blanks, bool next) {
  return blanks & (blanks >> 1 | static_cast<std::uint32_t>(next) << 31);
}

std::int64_t members(const AsciiSet& set, const std::uint8_t* text, std::int64_t size) {
  Rows rows = rows_of(set);
  std::int64_t at = 0;
  for (; size - at >= kBlock; at += kBlock) {
    const std::uint32_t ends = Block(text + at).outside(rows);
    if (ends != 0) return at + __builtin_ctz(ends);
  }
  while (at < size && set.holds(text[at])) ++at;
  return at;
}

std::int64_t words(const AsciiSet& set, const std::uint8_t* text, std::int64_t size) {
  Rows rows = rows_of(set);
  std::int64_t at = 0;
  for (; size - at > kBlock; at += kBlock) {
    const Block block(text + at);
    const std::uint32_t ends =
        block.outside(rows) | doubled(block.blanks(), text[at + kBlock] == ' ');
    if (ends != 0) return at + __builtin_ctz(ends);
  }
  for (; at < size && set.holds(text[at]); ++at) {
    if (text[at] == ' ' && at + 1 < size && text[at + 1] == ' ') break;
  }
  return at;
}

std::int64_t double_blank(const std::uint8_t* text, std::int64_t size) {
  std::int64_t at = 0;
  for (; size - at > kBlock; at += kBlock) {
    const std::uint32_t found = doubled(Block(text + at).blanks(), text[at + kBlock] == ' ');
    if (found != 0) return at + __builtin_ctz(found);
  }
  for (; at + 1 < size; ++at) {
    if (text[at] == ' ' && text[at + 1] == ' ') return at;
  }
  return size;
}

}  // namespace

namespace TOKFRAG_ISA {

extern const ByteRuns byte_runs_table = {&members, &words, &double_blank};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
