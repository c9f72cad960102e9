// Sizes that refuse to overflow: every product of user-given extents goes through these.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace tokfrag {

inline std::int64_t checked_multiply(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) {
    throw std::overflow_error("size does not fit in 64 bits");
  }
  return result;
}

inline std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_add_overflow(a, b, &result)) {
    throw std::overflow_error("size does not fit in 64 bits");
  }
  return result;
}

}  // namespace tokfrag
