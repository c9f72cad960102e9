// The pairs there are before the first merge: how often, and where.
#include <algorithm>
#include <vector>

#include "core/interrupt.hpp"
#include "core/parallel.hpp"
#include "tokens/training/trainer.hpp"

namespace tokfrag {

namespace {

constexpr std::size_t kSmallVocabulary = 1024;
constexpr std::size_t kPollEvery = 4096;

// Pairs that one part of the words holds, numbered as they are met. A square of the few symbols
// there are at first is faster than the hash table.
class PartPairs {
 public:
  struct Name {
    std::uint32_t left;
    std::uint32_t right;
  };
  struct Met {
    std::int64_t count = 0;
    std::uint32_t n_places = 0;
    std::uint32_t last = kNone;  // the place it was met at last
  };
  struct List {
    std::uint32_t* next;  // where its next place goes
    std::uint32_t last;
  };
  static constexpr std::uint32_t kNone = 0xffffffffu;

  explicit PartPairs(std::size_t symbols)
      : side_(symbols <= kSmallVocabulary ? symbols : 0), square_(side_ * side_, kNone) {}

  void count(std::uint32_t left, std::uint32_t right, std::uint32_t place, std::int64_t count) {
    const std::uint32_t number = number_of(left, right);
    if (number == met.size()) {
      names.push_back({left, right});
      met.emplace_back();
    }
    Met& pair = met[number];
    pair.count += count;
    pair.n_places += pair.last != place;
    pair.last = place;
  }
  void put(std::uint32_t left, std::uint32_t right, std::uint32_t place) {
    List& list = lists[number_of(left, right)];
    if (list.last == place) return;
    *list.next++ = place;
    list.last = place;
  }

  std::vector<Name> names;
  std::vector<Met> met;
  std::vector<List> lists;

 private:
  std::uint32_t number_of(std::uint32_t left, std::uint32_t right) {
    if (side_ == 0) return index_.find_or_add(left, right);
    std::uint32_t& number = square_[left * side_ + right];
    if (number == kNone) number = static_cast<std::uint32_t>(met.size());
    return number;
  }

  std::size_t side_;
  std::vector<std::uint32_t> square_;
  PairIndex index_;
};

}  // namespace

// Calls visit(left, right, place, count) for each adjacent position of short words.
template <class Visit>
void Trainer::for_each_short_pair(std::size_t first_mark, std::size_t last_mark,
                                  Visit visit) const {
  if (first_mark == last_mark) return;
  const std::size_t end = last_mark == marks_.size() ? cells_.size() : marks_[last_mark];
  std::size_t words = 0;
  for (std::size_t at = marks_[first_mark]; at < end; at += kHeader + cells_[at]) {
    if (++words % kPollEvery == 0) poll_interrupt();
    const std::uint32_t* symbols = &cells_[at + kHeader];
    const std::int64_t count = count_of(&cells_[at]);
    for (std::size_t i = 0; i + 1 < cells_[at]; ++i) {
      visit(symbols[i], symbols[i + 1], static_cast<std::uint32_t>(at), count);
    }
  }
}

template <class Visit>
void Trainer::for_each_long_pair(Visit visit) const {
  for (const LongWord& word : long_words_) {
    for (std::uint32_t node = word.begin; node + 1 < word.end; ++node) {
      if (node % kPollEvery == 0) poll_interrupt();
      visit(symbol_[node], symbol_[node + 1], node | kLong, word.count);
    }
  }
}

void Trainer::index_pairs() {
  // Two walks over all positions, the first to know how long each list of places is. The last part
  // is that of the long words.
  const std::size_t shares =
      std::clamp<std::size_t>(marks_.size(), 1, static_cast<std::size_t>(threads_));
  std::vector<PartPairs> parts;
  for (std::size_t i = 0; i <= shares; ++i) parts.emplace_back(tokens_.size());
  const auto walk = [&](const auto& visit) {
    parallel_for(static_cast<std::int64_t>(parts.size()), 1, threads_,
                 [&](std::int64_t first, std::int64_t last, int) {
                   for (auto i = static_cast<std::size_t>(first);
                        i < static_cast<std::size_t>(last); ++i) {
                     const auto visit_part = [&](std::uint32_t left, std::uint32_t right,
                                                 std::uint32_t place, std::int64_t count) {
                       visit(parts[i], left, right, place, count);
                     };
                     if (i < shares) {
                       for_each_short_pair(marks_.size() * i / shares,
                                           marks_.size() * (i + 1) / shares, visit_part);
                     } else {
                       for_each_long_pair(visit_part);
                     }
                   }
                 });
  };
  walk([](PartPairs& part, std::uint32_t left, std::uint32_t right, std::uint32_t place,
          std::int64_t count) { part.count(left, right, place, count); });
  for (const PartPairs& part : parts) {
    for (std::size_t i = 0; i < part.met.size(); ++i) {
      PairRecord& record = pairs_[pairs_.find_or_add(part.names[i].left, part.names[i].right)];
      record.count += part.met[i].count;
      record.n_places += part.met[i].n_places;
    }
  }
  for (std::uint32_t number = 0; number < pairs_.size(); ++number) {
    PairRecord& record = pairs_[number];
    record.places = arena_.take(record.n_places);
    record.n_places = 0;
    queue_.push({record.count, record.left, record.right, number});
  }
  for (PartPairs& part : parts) {
    for (std::size_t i = 0; i < part.met.size(); ++i) {
      PairRecord& record = pairs_[pairs_.find(part.names[i].left, part.names[i].right)];
      part.lists.push_back({record.places + record.n_places, PartPairs::kNone});
      record.n_places += part.met[i].n_places;
    }
  }
  walk([](PartPairs& part, std::uint32_t left, std::uint32_t right, std::uint32_t place,
          std::int64_t) { part.put(left, right, place); });
}

}  // namespace tokfrag
