// UTF-8 from code units: ASCII in blocks; other characters eight at a time, or one by one, without
// a branch on how many bytes they take.

#include "tokens/text/transcoding.hpp"

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "tokens/text/unit_block.hpp"

namespace tokfrag {

namespace {

// A character below U+10000 that is no surrogate; writes four bytes, of which up to three count.
std::uint8_t* put_narrow(std::uint32_t c, std::uint8_t* out) {
  const std::uint32_t two = 0x80C0u | c >> 6 | (c & 0x3F) << 8;
  const std::uint32_t three = 0x8080E0u | c >> 12 | (c & 0xFC0) << 2 | (c & 0x3F) << 16;
  const std::uint32_t bytes = c < 0x80 ? c : c < 0x800 ? two : three;
  std::memcpy(out, &bytes, 4);
  return out + 1 + (c >= 0x80) + (c >= 0x800);
}

std::uint8_t* put_astral(std::uint32_t c, std::uint8_t* out) {
  const auto tail = [&](int shift) {
    return static_cast<std::uint8_t>(0x80 | (c >> shift & 0x3F));
  };
  out[0] = static_cast<std::uint8_t>(0xF0 | c >> 18);
  out[1] = tail(12);
  out[2] = tail(6);
  out[3] = tail(0);
  return out + 4;
}

bool is_surrogate(std::uint32_t c) { return (c & 0xFFFFF800u) == 0xD800; }

// units[*at], which is a surrogate, or that and the one behind it.
template <class Unit>
std::uint8_t* put_surrogate(const Unit* units, std::int64_t count, std::int64_t* at,
                            std::uint8_t* out) {
  const std::uint32_t first = units[*at];
  const std::uint32_t second = *at + 1 < count ? units[*at + 1] : 0;
  if (first >= 0xDC00 || (second & 0xFFFFFC00u) != 0xDC00) return put_narrow(0xFFFD, out);
  ++*at;
  return put_astral(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00), out);
}

template <class Unit>
std::uint8_t* put_one(const Unit* units, std::int64_t count, std::int64_t* at, std::uint8_t* out) {
  const std::uint32_t c = units[*at];
  if (sizeof(Unit) > 2 && c >= 0x10000) return put_astral(c, out);
  if (sizeof(Unit) > 1 && __builtin_expect(is_surrogate(c), 0)) {
    return put_surrogate(units, count, at, out);
  }
  return put_narrow(c, out);
}

std::uint8_t* latin1(const std::uint8_t* units, std::int64_t count, std::uint8_t* out) {
  std::int64_t i = 0;
  while (i < count) {
    std::uint64_t eight = 0;
    if (count - i >= 8) {
      std::memcpy(&eight, units + i, 8);
      if ((eight & 0x8080808080808080ull) == 0) {
        std::memcpy(out, &eight, 8);
        out += 8;
        i += 8;
        continue;
      }
    }
    out = put_one(units, count, &i, out);
    ++i;
  }
  return out;
}

#if defined(__AVX2__)

// How to close the gaps between four characters, each in four bytes of its own. By bits: which of
// them take two bytes or more, and, four bits up, which take three.
struct Closing {
  std::uint8_t bytes[256][16] = {};
  std::uint8_t length[256] = {};
};

constexpr Closing closing_of_gaps() {
  Closing closing;
  for (int bits = 0; bits < 256; ++bits) {
    int to = 0;
    for (int i = 0; i < 4; ++i) {
      const int length = 1 + (bits >> i & 1) + (bits >> (4 + i) & 1);
      for (int byte = 0; byte < length; ++byte) {
        closing.bytes[bits][to++] = static_cast<std::uint8_t>(4 * i + byte);
      }
    }
    closing.length[bits] = static_cast<std::uint8_t>(to);
    while (to < 16) closing.bytes[bits][to++] = 0x80;  // zero
  }
  return closing;
}

alignas(64) constexpr Closing kClosing = closing_of_gaps();

inline __m256i load_eight(const std::uint16_t* units) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(units)));
}
inline __m256i load_eight(const std::uint32_t* units) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(units));
}

// Writes eight characters below U+10000 that are no surrogates, else nothing and returns null.
// Up to 16 bytes behind the end are overwritten.
inline std::uint8_t* put_eight(__m256i c, std::uint8_t* out) {
  const auto ones = [](int value) { return _mm256_set1_epi32(value); };
  const __m256i upper = _mm256_srli_epi32(c, 11);  // 27: surrogates; 32 and more: astral
  const __m256i alone =
      _mm256_or_si256(_mm256_cmpeq_epi32(upper, ones(27)), _mm256_cmpgt_epi32(upper, ones(31)));
  if (!_mm256_testz_si256(alone, alone)) return nullptr;
  const __m256i last = _mm256_and_si256(c, ones(0x3F));
  const __m256i middle = _mm256_slli_epi32(_mm256_and_si256(c, ones(0xFC0)), 2);
  const __m256i two = _mm256_or_si256(_mm256_or_si256(_mm256_srli_epi32(c, 6), ones(0x80C0)),
                                      _mm256_slli_epi32(last, 8));
  const __m256i three = _mm256_or_si256(_mm256_or_si256(_mm256_srli_epi32(c, 12), ones(0x8080E0)),
                                        _mm256_or_si256(middle, _mm256_slli_epi32(last, 16)));
  const __m256i takes_two = _mm256_cmpgt_epi32(c, ones(0x7F));
  const __m256i takes_three = _mm256_cmpgt_epi32(c, ones(0x7FF));
  const __m256i bytes =
      _mm256_blendv_epi8(_mm256_blendv_epi8(c, two, takes_two), three, takes_three);
  const int more = _mm256_movemask_ps(_mm256_castsi256_ps(takes_two));
  const int most = _mm256_movemask_ps(_mm256_castsi256_ps(takes_three));
  const auto put = [&](__m128i four, int bits) {
    const auto* const how = reinterpret_cast<const __m128i*>(kClosing.bytes[bits]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_shuffle_epi8(four, _mm_load_si128(how)));
    out += kClosing.length[bits];
  };
  put(_mm256_castsi256_si128(bytes), (more & 15) | (most & 15) << 4);
  put(_mm256_extracti128_si256(bytes, 1), more >> 4 | (most & 0xF0));
  return out;
}

template <class Unit>
std::uint8_t* by_blocks(const Unit* units, std::int64_t count, std::uint8_t* out) {
  using Block = UnitBlock<Unit>;
  std::int64_t i = 0;
  while (count - i >= Block::kUnits) {
    const Block block(units + i);
    if (block.is_ascii()) {
      block.put(out);
      out += Block::kUnits;
      i += Block::kUnits;
      continue;
    }
    // Eights until the next are ASCII again, or so it seems.
    do {
      if (std::uint8_t* const end = put_eight(load_eight(units + i), out)) {
        out = end;
        i += 8;
        continue;
      }
      const std::int64_t eight = i + 8;
      while (i < eight) {
        out = put_one(units, count, &i, out);
        ++i;
      }
    } while (count - i >= Block::kUnits && units[i] >= 0x80);
  }
  while (i < count) {
    out = put_one(units, count, &i, out);
    ++i;
  }
  return out;
}

#else

template <class Unit>
std::uint8_t* by_blocks(const Unit* units, std::int64_t count, std::uint8_t* out) {
  using Block = UnitBlock<Unit>;
  std::int64_t i = 0;
  while (i < count) {
    if (units[i] < 0x80 && count - i >= Block::kUnits) {
      const Block block(units + i);
      const std::uint32_t wide = block.wide();
      const int ascii = wide == 0 ? Block::kUnits : __builtin_ctz(wide);
      block.put(out);
      out += ascii;
      i += ascii;
      continue;
    }
    out = put_one(units, count, &i, out);
    ++i;
  }
  return out;
}

#endif

}  // namespace

namespace TOKFRAG_ISA {

extern const Transcoding transcoding = {&latin1, &by_blocks<std::uint16_t>,
                                        &by_blocks<std::uint32_t>};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
