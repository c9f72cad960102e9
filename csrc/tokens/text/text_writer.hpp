// Texts written step by step, many at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokens/text/text.hpp"
#include "tokens/text/writing_step.hpp"

namespace tokfrag {

class TextWriter {
 public:
  // `repairs`: bytes that are no UTF-8 become U+FFFD, one each, before the first step sees them.
  TextWriter(std::vector<StepPointer> steps, bool repairs)
      : steps_(std::move(steps)), repairs_(repairs) {}

  // What one text is written with, kept from one use to the next.
  struct Scratch {
    Utf8Scratch utf8;
    std::string repaired;
    std::string written[2];
  };
  // The text as the steps write it, in `scratch` or where it was.
  Utf8 operator()(const Text& text, bool first, Scratch* scratch) const;

 private:
  std::vector<StepPointer> steps_;
  bool repairs_;
};

// Many texts as a writer writes them, and the memory they lie in.
class WrittenTexts {
 public:
  // `inner`: a byte a text, not 0 where it does not begin its document; null: all do.
  WrittenTexts(const TextWriter& writer, const std::vector<Text>& texts, const std::uint8_t* inner,
               int threads);
  const std::vector<Text>& texts() const { return texts_; }

 private:
  std::vector<Text> texts_;
  std::vector<std::string> blocks_;
};

}  // namespace tokfrag
