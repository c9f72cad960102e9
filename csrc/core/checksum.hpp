#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tokfrag {

// A sum over `size` bytes that tells whether memory is still what it was. Each step is a bijection
// of the sum and of the word it takes in, so one changed word always shows; several hide each other
// once in 2^64. Eight sums side by side keep the multiplier busy: about 8 bytes a cycle.
inline std::uint64_t checksum(const void* data, std::int64_t size) noexcept {
  constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15U;
  constexpr std::int64_t kSums = 8;
  constexpr std::int64_t kWord = 8;
  const auto step = [](std::uint64_t sum, std::uint64_t word) {
    sum = (sum ^ word) * kFactor;
    return sum ^ (sum >> 32);
  };
  const char* at = static_cast<const char*>(data);
  std::uint64_t sums[kSums] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::uint64_t words[kSums];
  for (; size >= kSums * kWord; size -= kSums * kWord, at += kSums * kWord) {
    std::memcpy(words, at, sizeof words);
    for (std::int64_t i = 0; i < kSums; ++i) sums[i] = step(sums[i], words[i]);
  }
  std::memset(words, 0, sizeof words);
  if (size > 0) std::memcpy(words, at, static_cast<std::size_t>(size));
  std::uint64_t total = static_cast<std::uint64_t>(size);
  for (std::int64_t i = 0; i < kSums; ++i) total = step(total, step(sums[i], words[i]));
  return total;
}

}  // namespace tokfrag
