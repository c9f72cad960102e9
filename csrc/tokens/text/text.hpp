// Text as callers hold it: UTF-8 bytes, or the code units of a Python string.
#pragma once

#include <cstdint>
#include <utility>

#include "core/buffer_pool.hpp"

namespace tokfrag {

struct Text {
  const void* data;
  std::int64_t length;  // in units
  int unit;             // 0: UTF-8 bytes; 1, 2 or 4: bytes a code unit (Latin-1, UCS-2, UCS-4)

  // A unit: UTF-8 bytes that somebody may write meanwhile, and so copied before they are looked at.
  static constexpr int kShared = -1;
};

struct Utf8 {
  const std::uint8_t* data;
  std::int64_t size;
};

// Memory for text to be written to, kept from one use to the next.
class Utf8Scratch {
 public:
  Utf8Scratch() = default;
  ~Utf8Scratch() { give_buffer(std::move(buffer_)); }
  Utf8Scratch(const Utf8Scratch&) = delete;
  Utf8Scratch& operator=(const Utf8Scratch&) = delete;

  // Room for `bytes`, with any contents.
  std::uint8_t* room(std::int64_t bytes);

 private:
  HugeBuffer buffer_;
};

// The text as UTF-8: in place if it is, else written to `scratch`. A pair of surrogates becomes the
// character it stands for, one alone U+FFFD, as tiktoken has it.
Utf8 to_utf8(const Text& text, Utf8Scratch* scratch);

// The same for text that is code units, written to `out`; returns the end. There must be room for
// utf8_bound(text) + kUtf8Slack bytes.
std::uint8_t* write_utf8(const Text& text, std::uint8_t* out);
constexpr std::int64_t kUtf8Slack = 32;

// Whether code units hold a surrogate: then the str has no UTF-8 form. (UTF-8 is not looked at.)
bool holds_surrogate(const Text& text);

// An upper bound of its size in UTF-8.
inline std::int64_t utf8_bound(const Text& text) {
  return text.unit <= 0 ? text.length : text.length * (text.unit == 1 ? 2 : text.unit == 2 ? 3 : 4);
}

}  // namespace tokfrag
