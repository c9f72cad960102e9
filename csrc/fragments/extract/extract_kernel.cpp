#include "fragments/extract/extract_kernel.hpp"

#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

constexpr std::int64_t kLine = 64;

// One cache line, written around the cache; `to` begins a line.
inline void stream_line(char* to, const char* from) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), _mm512_loadu_si512(from));
#elif defined(__AVX__)
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32));
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), a);
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 32), b);
#elif defined(__SSE2__)
  for (int part = 0; part < kLine; part += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + part),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + part)));
  }
#else
  std::memcpy(to, from, kLine);
#endif
}

void stream_rows(char* to, std::int64_t to_step, const char* from, std::int64_t from_step,
                 std::int64_t bytes, std::int64_t rows) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t at = 0; at < bytes; at += kLine) stream_line(to + at, from + at);
    to += to_step;
    from += from_step;
  }
}

void copy_lines(char* to, std::int64_t to_step, const char* from, std::int64_t from_step,
                std::int64_t bytes, std::int64_t rows) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t at = 0; at < bytes; at += kLine) {
      char line[kLine];
      std::memcpy(line, from + at, kLine);
      std::memcpy(to + at, line, kLine);
    }
    to += to_step;
    from += from_step;
  }
}

// Rows of [Part, 2 * Part] bytes: a first and a last part, which may overlap.
template <int Part>
void copy_in_two(char* to, std::int64_t to_step, const char* from, std::int64_t from_step,
                 std::int64_t bytes, std::int64_t rows) {
  const std::int64_t tail = bytes - Part;
  for (std::int64_t row = 0; row < rows; ++row) {
    char first[Part];
    char last[Part];
    std::memcpy(first, from, Part);
    std::memcpy(last, from + tail, Part);
    std::memcpy(to, first, Part);
    std::memcpy(to + tail, last, Part);
    to += to_step;
    from += from_step;
  }
}

void copy_rows(char* to, std::int64_t to_step, const char* from, std::int64_t from_step,
               std::int64_t bytes, std::int64_t rows, bool stream) {
  const bool whole_lines =
      ((reinterpret_cast<std::uintptr_t>(to) | static_cast<std::uintptr_t>(bytes | to_step)) %
       kLine) == 0;
  if (stream && whole_lines) {
    stream_rows(to, to_step, from, from_step, bytes, rows);
  } else if (bytes > 128 && bytes <= 8 * kLine && bytes % kLine == 0) {
    copy_lines(to, to_step, from, from_step, bytes, rows);
  } else if (bytes > 128) {
    for (std::int64_t row = 0; row < rows; ++row) {
      std::memcpy(to + row * to_step, from + row * from_step, static_cast<std::size_t>(bytes));
    }
  } else if (bytes >= 64) {
    copy_in_two<64>(to, to_step, from, from_step, bytes, rows);
  } else if (bytes >= 32) {
    copy_in_two<32>(to, to_step, from, from_step, bytes, rows);
  } else if (bytes >= 16) {
    copy_in_two<16>(to, to_step, from, from_step, bytes, rows);
  } else if (bytes >= 8) {
    copy_in_two<8>(to, to_step, from, from_step, bytes, rows);
  } else if (bytes >= 4) {
    copy_in_two<4>(to, to_step, from, from_step, bytes, rows);
  } else if (bytes >= 2) {
    copy_in_two<2>(to, to_step, from, from_step, bytes, rows);
  } else {
    copy_in_two<1>(to, to_step, from, from_step, bytes, rows);
  }
}

// One short row, written around the cache; the rest of its line follows at once, so the line leaves
// in one piece.
template <int Bytes>
inline void stream_part(char* to, const char* from) {
#if defined(__AVX__)
  if (Bytes == 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    return;
  }
#endif
#if defined(__SSE2__)
  for (int at = 0; at < Bytes; at += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + at),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at)));
  }
#else
  std::memcpy(to, from, Bytes);
#endif
}

template <int Bytes>
void copy_parts(char* to, std::int64_t to_step, const char* from, std::int64_t from_step,
                std::int64_t rows, std::int64_t part_step, bool stream) {
  constexpr int kParts = static_cast<int>(kLine) / Bytes;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (int part = 0; part < kParts; ++part) {
      if (stream) {
        stream_part<Bytes>(to + part * Bytes, from + part * part_step);
      } else {
        std::memcpy(to + part * Bytes, from + part * part_step, Bytes);
      }
    }
    to += to_step;
    from += from_step;
  }
}

void copy_groups(char* to, std::int64_t to_step, const char* from, std::int64_t from_step,
                 std::int64_t rows, std::int64_t parts, std::int64_t part_step, bool stream) {
  const bool aligned =
      ((reinterpret_cast<std::uintptr_t>(to) | static_cast<std::uintptr_t>(to_step)) % kLine) == 0;
  if (parts == 2) {
    copy_parts<32>(to, to_step, from, from_step, rows, part_step, stream && aligned);
  } else {
    copy_parts<16>(to, to_step, from, from_step, rows, part_step, stream && aligned);
  }
}

template <int Element>
void gather_elements(char* to, const char* from, std::int64_t step, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(to + i * Element, from + i * step, Element);
  }
}

void gather(char* to, const char* from, std::int64_t step, std::int64_t element,
            std::int64_t count) {
  if (step == element) {
    std::memcpy(to, from, static_cast<std::size_t>(element * count));
    return;
  }
  switch (element) {
    case 1:
      return gather_elements<1>(to, from, step, count);
    case 2:
      return gather_elements<2>(to, from, step, count);
    case 4:
      return gather_elements<4>(to, from, step, count);
    case 8:
      return gather_elements<8>(to, from, step, count);
    case 16:
      return gather_elements<16>(to, from, step, count);
    default:
      for (std::int64_t i = 0; i < count; ++i) {
        std::memcpy(to + i * element, from + i * step, static_cast<std::size_t>(element));
      }
  }
}

void fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace

extern const ExtractKernels extract_kernels_table;
const ExtractKernels extract_kernels_table{&copy_rows, &copy_groups, &gather, &fence};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
