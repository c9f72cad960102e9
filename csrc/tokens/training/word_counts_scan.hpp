// Counts the pieces that a pattern cuts texts into, on several threads.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/scan/patterns.hpp"
#include "tokens/text/text_view.hpp"
#include "tokens/training/word_counts.hpp"

namespace tokfrag {

// Each thread counts into a table of its own; take() adds them up, so the result does not depend on
// which thread saw what.
class PieceCounter {
 public:
  PieceCounter(PatternFamily family, int threads) : family_(family), threads_(threads) {}

  // Every text on its own: no piece crosses two. Long ones are cut for the threads where a piece is
  // sure to end.
  void add_texts(const std::vector<TextView>& texts);
  // Every line, with its '\n', on its own.
  void add_lines(TextView text);
  // Bytes that the tables hold.
  std::int64_t memory() const;
  // The counts so far; the counter is empty afterwards.
  WordTable take();

 private:
  template <class Count>
  void run(const std::vector<TextView>& parts, Count count);

  PatternFamily family_;
  int threads_;
  std::vector<WordTable> tables_;
};

}  // namespace tokfrag
