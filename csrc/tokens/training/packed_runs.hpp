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

// Calls visit(word) for each distinct word of the runs, in byte order, with the sum of its counts.
// Throws std::overflow_error where a sum exceeds 63 bits. Needs no memory but a cursor a run.
template <class Visit>
void merge_runs(const std::vector<std::string_view>& runs, Visit visit) {
  constexpr std::uint64_t kPollEvery = 1 << 14;
  std::vector<PackedReader> readers;
  for (const std::string_view run : runs) {
    PackedReader reader(run);
    if (reader.next()) readers.push_back(reader);
  }
  const auto later = [](const PackedReader& a, const PackedReader& b) {
    return a.word().text > b.word().text;
  };
  std::make_heap(readers.begin(), readers.end(), later);
  for (std::uint64_t done = 1; !readers.empty(); ++done) {
    if (done % kPollEvery == 0) poll_interrupt();
    WordTable::Word sum{readers.front().word().text, 0};
    while (!readers.empty() && readers.front().word().text == sum.text) {
      sum.count = checked_add(sum.count, readers.front().word().count);
      std::pop_heap(readers.begin(), readers.end(), later);
      if (readers.back().next()) {
        std::push_heap(readers.begin(), readers.end(), later);
      } else {
        readers.pop_back();
      }
    }
    visit(sum);
  }
}

}  // namespace tokfrag
