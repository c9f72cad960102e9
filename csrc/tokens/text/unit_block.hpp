// A run of code units of two or four bytes, looked at for ASCII: which are, and all of them as
// bytes.
//
// Internal linkage: every instruction set compiles its own.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace tokfrag {

namespace {

template <class Unit>
struct UnitBlock;

#if defined(__AVX2__)

template <>
struct UnitBlock<std::uint16_t> {
  static constexpr int kUnits = 32;
  explicit UnitBlock(const std::uint16_t* from)
      : low(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))),
        high(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 16))) {}
  // Whether all units are ASCII.
  bool is_ascii() const {
    return _mm256_testz_si256(_mm256_or_si256(low, high),
                              _mm256_set1_epi16(static_cast<short>(0xFF80))) != 0;
  }
  // The low bytes of all units, which are ASCII.
  void put(std::uint8_t* to) const {
    const __m256i mixed = _mm256_packus_epi16(low, high);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(mixed, 0xD8));
  }
  __m256i low;
  __m256i high;
};

template <>
struct UnitBlock<std::uint32_t> {
  static constexpr int kUnits = 32;
  explicit UnitBlock(const std::uint32_t* from) {
    for (int i = 0; i < 4; ++i) {
      eights[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 8 * i));
    }
  }
  bool is_ascii() const {
    const __m256i any = _mm256_or_si256(_mm256_or_si256(eights[0], eights[1]),
                                        _mm256_or_si256(eights[2], eights[3]));
    return _mm256_testz_si256(any, _mm256_set1_epi32(static_cast<int>(0xFFFFFF80))) != 0;
  }
  void put(std::uint8_t* to) const {
    const __m256i mixed = _mm256_packus_epi16(_mm256_packus_epi32(eights[0], eights[1]),
                                              _mm256_packus_epi32(eights[2], eights[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permutevar8x32_epi32(mixed, order));
  }
  __m256i eights[4];
};

#elif defined(__SSE2__)

template <>
struct UnitBlock<std::uint16_t> {
  static constexpr int kUnits = 16;
  explicit UnitBlock(const std::uint16_t* from)
      : low(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))),
        high(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8))) {}
  std::uint32_t wide() const {
    const __m128i bits = _mm_set1_epi16(static_cast<short>(0xFF80));
    const __m128i none = _mm_setzero_si128();
    const __m128i ascii = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_and_si128(low, bits), none),
                                          _mm_cmpeq_epi16(_mm_and_si128(high, bits), none));
    return ~static_cast<std::uint32_t>(_mm_movemask_epi8(ascii)) & 0xFFFFu;
  }
  void put(std::uint8_t* to) const {
    const __m128i byte = _mm_set1_epi16(0x00FF);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm_packus_epi16(_mm_and_si128(low, byte), _mm_and_si128(high, byte)));
  }
  __m128i low;
  __m128i high;
};

template <>
struct UnitBlock<std::uint32_t> {
  static constexpr int kUnits = 8;
  explicit UnitBlock(const std::uint32_t* from)
      : low(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))),
        high(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 4))) {}
  std::uint32_t wide() const {
    const __m128i bits = _mm_set1_epi32(static_cast<int>(0xFFFFFF80));
    const __m128i none = _mm_setzero_si128();
    const __m128i ascii = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_and_si128(low, bits), none),
                                          _mm_cmpeq_epi32(_mm_and_si128(high, bits), none));
    return ~static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(ascii, ascii))) & 0xFFu;
  }
  void put(std::uint8_t* to) const {
    const __m128i byte = _mm_set1_epi32(0xFF);
    const __m128i words = _mm_packs_epi32(_mm_and_si128(low, byte), _mm_and_si128(high, byte));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
  }
  __m128i low;
  __m128i high;
};

#else

template <class Unit>
struct UnitBlock {
  static constexpr int kUnits = 16;
  explicit UnitBlock(const Unit* from) { std::memcpy(units, from, sizeof units); }
  std::uint32_t wide() const {
    std::uint32_t bits = 0;
    for (int i = 0; i < kUnits; ++i) bits |= static_cast<std::uint32_t>(units[i] > 0x7F) << i;
    return bits;
  }
  void put(std::uint8_t* to) const {
    for (int i = 0; i < kUnits; ++i) to[i] = static_cast<std::uint8_t>(units[i]);
  }
  Unit units[kUnits];
};

#endif

}  // namespace

}  // namespace tokfrag
