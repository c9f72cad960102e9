// Packed word counts, spilled one after the other, as if they were one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/checked.hpp"
#include "core/interrupt.hpp"
#include "tokens/training/word_counts.hpp"

namespace tokfrag {

// Gives each distinct word of the runs once, in byte order, with the sum of its counts. Needs no
// memory but a cursor a run.
class RunMerge {
 public:
  explicit RunMerge(const std::vector<std::string_view>& runs) {
    for (const std::string_view run : runs) {
      PackedReader reader(run);
      if (reader.next()) readers_.push_back(reader);
    }
    std::make_heap(readers_.begin(), readers_.end(), later);
  }

  // False at the end. Throws std::overflow_error where a sum exceeds 63 bits.
  bool next(WordTable::Word* word) {
    if (readers_.empty()) return false;
    if (++done_ % kPollEvery == 0) poll_interrupt();
    *word = {readers_.front().word().text, 0};
    while (!readers_.empty() && readers_.front().word().text == word->text) {
      word->count = checked_add(word->count, readers_.front().word().count);
      std::pop_heap(readers_.begin(), readers_.end(), later);
      if (readers_.back().next()) {
        std::push_heap(readers_.begin(), readers_.end(), later);
      } else {
        readers_.pop_back();
      }
    }
    return true;
  }

 private:
  static constexpr std::uint64_t kPollEvery = 1 << 14;

  static bool later(const PackedReader& a, const PackedReader& b) {
    return a.word().text > b.word().text;
  }

  std::vector<PackedReader> readers_;
  std::uint64_t done_ = 0;
};

// Calls visit(word) for each word of a RunMerge.
template <class Visit>
void merge_runs(const std::vector<std::string_view>& runs, Visit visit) {
  RunMerge words(runs);
  WordTable::Word word{{}, 0};
  while (words.next(&word)) visit(word);
}

}  // namespace tokfrag
