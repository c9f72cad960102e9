// What a driver makes of the bytes that the fuzzer gives it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace fuzz {

// Numbers from the front, text from what is left.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  // In [0, limit).
  std::int64_t below(std::int64_t limit) {
    const int high = byte();
    return (high << 8 | byte()) % limit;
  }
  std::int64_t between(std::int64_t least, std::int64_t most) {
    return least + below(most - least + 1);
  }
  const std::uint8_t* rest() const { return data_; }
  std::int64_t left() const { return static_cast<std::int64_t>(left_); }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

// Bytes that end where their memory ends, and begin `shift` bytes after an aligned address: what
// reads outside them is seen.
class Exact {
 public:
  Exact(const std::uint8_t* data, std::int64_t size, std::int64_t shift = 0)
      : block_(new std::uint8_t[static_cast<std::size_t>(size + shift)]), shift_(shift) {
    if (size > 0) std::memcpy(block_.get() + shift, data, static_cast<std::size_t>(size));
  }
  const std::uint8_t* data() const { return block_.get() + shift_; }

 private:
  std::unique_ptr<std::uint8_t[]> block_;
  std::int64_t shift_;
};

inline void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: does not hold: %s\n", what);
  std::abort();
}

}  // namespace fuzz

// libFuzzer's entry point; main.cpp calls it where there is no libFuzzer.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
