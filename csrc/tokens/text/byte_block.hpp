// Sixty-four bytes of text and questions about them, each answered by a bit a byte.
//
// Internal linkage: every instruction set compiles its own.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "tokens/text/byte_rows.hpp"

namespace tokfrag {

namespace {

#if defined(__AVX512BW__)

class ByteBlock {
 public:
  explicit ByteBlock(const std::uint8_t* text) : bytes_(_mm512_loadu_si512(text)) {}
  std::uint64_t equal(std::uint8_t byte) const {
    return _mm512_cmpeq_epi8_mask(bytes_, _mm512_set1_epi8(static_cast<char>(byte)));
  }
  std::uint64_t either(std::uint8_t one, std::uint8_t other) const {
    return equal(one) | equal(other);
  }
  // Bytes in [first, first + count).
  std::uint64_t in(std::uint8_t first, std::uint8_t count) const {
    return below(bytes_, first, count);
  }
  // The same with 'A'..'Z' taken as 'a'..'z'.
  std::uint64_t folded_in(std::uint8_t first, std::uint8_t count) const {
    return below(_mm512_or_si512(bytes_, _mm512_set1_epi8(0x20)), first, count);
  }
  std::uint64_t high() const { return _mm512_movepi8_mask(bytes_); }
  // Bit n of every byte, n in 0..7.
  std::uint64_t bit(int n) const {
    return _mm512_test_epi8_mask(bytes_, _mm512_set1_epi8(static_cast<char>(1 << n)));
  }

 private:
  static std::uint64_t below(__m512i bytes, std::uint8_t first, std::uint8_t count) {
    const __m512i moved = _mm512_sub_epi8(bytes, _mm512_set1_epi8(static_cast<char>(first)));
    return _mm512_cmplt_epu8_mask(moved, _mm512_set1_epi8(static_cast<char>(count)));
  }
  __m512i bytes_;
};

#elif defined(__AVX2__)

class ByteBlock {
 public:
  explicit ByteBlock(const std::uint8_t* text)
      : low_(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(text))),
        high_(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + 32))) {}
  std::uint64_t equal(std::uint8_t byte) const {
    const __m256i wanted = all(byte);
    return join(_mm256_cmpeq_epi8(low_, wanted), _mm256_cmpeq_epi8(high_, wanted));
  }
  std::uint64_t either(std::uint8_t one, std::uint8_t other) const {
    const __m256i first = all(one);
    const __m256i second = all(other);
    return join(_mm256_or_si256(_mm256_cmpeq_epi8(low_, first), _mm256_cmpeq_epi8(low_, second)),
                _mm256_or_si256(_mm256_cmpeq_epi8(high_, first), _mm256_cmpeq_epi8(high_, second)));
  }
  std::uint64_t in(std::uint8_t first, std::uint8_t count) const {
    return join(below(low_, first, count), below(high_, first, count));
  }
  std::uint64_t folded_in(std::uint8_t first, std::uint8_t count) const {
    const __m256i bit = all(0x20);
    return join(below(_mm256_or_si256(low_, bit), first, count),
                below(_mm256_or_si256(high_, bit), first, count));
  }
  std::uint64_t high() const { return join(low_, high_); }
  std::uint64_t bit(int n) const {
    return join(_mm256_slli_epi16(low_, 7 - n), _mm256_slli_epi16(high_, 7 - n));
  }

 private:
  static __m256i all(std::uint8_t byte) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(kByteRows.all[byte]));
  }
  static __m256i below(__m256i bytes, std::uint8_t first, std::uint8_t count) {
    const __m256i moved = _mm256_sub_epi8(bytes, all(first));
    const __m256i most = all(static_cast<std::uint8_t>(count - 1));
    return _mm256_cmpeq_epi8(_mm256_min_epu8(moved, most), moved);
  }
  static std::uint64_t join(__m256i low, __m256i high) {
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(low)) |
           static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm256_movemask_epi8(high))) << 32;
  }
  __m256i low_;
  __m256i high_;
};

#elif defined(__SSE2__)

class ByteBlock {
 public:
  explicit ByteBlock(const std::uint8_t* text) {
    for (int i = 0; i < 4; ++i) {
      parts_[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text + 16 * i));
    }
  }
  std::uint64_t equal(std::uint8_t byte) const {
    const __m128i wanted = _mm_set1_epi8(static_cast<char>(byte));
    return each([&](__m128i part) { return _mm_cmpeq_epi8(part, wanted); });
  }
  std::uint64_t either(std::uint8_t one, std::uint8_t other) const {
    return equal(one) | equal(other);
  }
  std::uint64_t in(std::uint8_t first, std::uint8_t count) const {
    return each([&](__m128i part) { return below(part, first, count); });
  }
  std::uint64_t folded_in(std::uint8_t first, std::uint8_t count) const {
    const __m128i bit = _mm_set1_epi8(0x20);
    return each([&](__m128i part) { return below(_mm_or_si128(part, bit), first, count); });
  }
  std::uint64_t high() const {
    return each([](__m128i part) { return part; });
  }
  std::uint64_t bit(int n) const {
    return each([&](__m128i part) { return _mm_slli_epi16(part, 7 - n); });
  }

 private:
  static __m128i below(__m128i bytes, std::uint8_t first, std::uint8_t count) {
    const __m128i moved = _mm_sub_epi8(bytes, _mm_set1_epi8(static_cast<char>(first)));
    const __m128i most = _mm_set1_epi8(static_cast<char>(count - 1));
    return _mm_cmpeq_epi8(_mm_min_epu8(moved, most), moved);
  }
  template <class Test>
  std::uint64_t each(Test test) const {
    std::uint64_t bits = 0;
    for (int i = 0; i < 4; ++i) {
      const auto part = static_cast<std::uint32_t>(_mm_movemask_epi8(test(parts_[i])));
      bits |= static_cast<std::uint64_t>(part) << (16 * i);
    }
    return bits;
  }
  __m128i parts_[4];
};

#else

class ByteBlock {
 public:
  explicit ByteBlock(const std::uint8_t* text) { std::memcpy(bytes_, text, 64); }
  std::uint64_t equal(std::uint8_t byte) const {
    return each([&](std::uint8_t there) { return there == byte; });
  }
  std::uint64_t either(std::uint8_t one, std::uint8_t other) const {
    return equal(one) | equal(other);
  }
  std::uint64_t in(std::uint8_t first, std::uint8_t count) const {
    return each(
        [&](std::uint8_t there) { return static_cast<std::uint8_t>(there - first) < count; });
  }
  std::uint64_t folded_in(std::uint8_t first, std::uint8_t count) const {
    return each([&](std::uint8_t there) {
      return static_cast<std::uint8_t>((there | 0x20) - first) < count;
    });
  }
  std::uint64_t high() const {
    return each([](std::uint8_t there) { return there >= 0x80; });
  }
  std::uint64_t bit(int n) const {
    return each([&](std::uint8_t there) { return (there >> n & 1) != 0; });
  }

 private:
  template <class Test>
  std::uint64_t each(Test test) const {
    std::uint64_t bits = 0;
    for (int i = 0; i < 64; ++i) bits |= static_cast<std::uint64_t>(test(bytes_[i])) << i;
    return bits;
  }
  std::uint8_t bytes_[64];
};

#endif

}  // namespace

}  // namespace tokfrag
