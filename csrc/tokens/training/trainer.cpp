#include "tokens/training/trainer.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "core/checked.hpp"
#include "core/interrupt.hpp"

namespace tokfrag {

namespace {

constexpr std::uint32_t kNone = 0xffffffffu;
// A place with this bit is a node of a long word, without it the first cell of a short one.
constexpr std::uint32_t kLong = 0x80000000u;
constexpr std::size_t kHeader = 3;
constexpr std::size_t kSmallVocabulary = 1024;
constexpr std::size_t kAhead = 12;        // how far merges prefetch
constexpr std::size_t kPollEvery = 4096;  // places between polls for Ctrl-C

std::int64_t count_of(const std::uint32_t* word) {
  std::int64_t count;
  std::memcpy(&count, word + 1, sizeof count);
  return count;
}

}  // namespace

void Trainer::Side::note(std::uint32_t symbol, std::int64_t count, std::uint32_t place) {
  Neighbour& neighbour = by_symbol[symbol];
  if (neighbour.n_places == 0) {
    touched.push_back(symbol);
  } else if (neighbour.last_place == place) {
    neighbour.count += count;
    return;
  }
  neighbour.count += count;
  neighbour.last_place = place;
  ++neighbour.n_places;
  hits.push_back({symbol, place});
}

void Trainer::Side::clear() {
  for (const std::uint32_t symbol : touched) by_symbol[symbol] = {};
  touched.clear();
  hits.clear();
}

Trainer::Trainer(std::vector<std::string> tokens, const TrainerOptions& options)
    : options_(options), tokens_(std::move(tokens)) {
  ids_.reserve(static_cast<std::size_t>(options.vocab_size));
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    if (!tokens_[id].empty()) ids_.emplace(tokens_[id], static_cast<std::uint32_t>(id));
  }
}

void Trainer::reserve(std::int64_t words, std::int64_t symbols) {
  cells_.reserve(cells_.size() + static_cast<std::size_t>(words) * kHeader +
                 static_cast<std::size_t>(symbols));
}

void Trainer::add_word(const std::uint32_t* symbols, std::int64_t length, std::int64_t count) {
  total_ = checked_add(total_, checked_multiply(length, count));
  if (length < 2) return;
  const auto n = static_cast<std::size_t>(length);
  if (length <= kShortWord) {
    if (cells_.size() + kHeader + n >= kLong) {
      throw std::length_error("the distinct words hold more than 2^31 symbols");
    }
    cells_.push_back(static_cast<std::uint32_t>(n));
    cells_.resize(cells_.size() + 2);
    std::memcpy(&cells_[cells_.size() - 2], &count, sizeof count);
    cells_.insert(cells_.end(), symbols, symbols + n);
    return;
  }
  if (symbol_.size() + n >= kLong) {
    throw std::length_error("the distinct long words hold more than 2^31 symbols");
  }
  const auto begin = static_cast<std::uint32_t>(symbol_.size());
  const auto end = begin + static_cast<std::uint32_t>(n);
  symbol_.insert(symbol_.end(), symbols, symbols + n);
  previous_.resize(symbol_.size());
  next_.resize(symbol_.size());
  for (std::uint32_t node = begin; node < end; ++node) {
    previous_[node] = node == begin ? kNone : node - 1;
    next_[node] = node + 1 == end ? kNone : node + 1;
  }
  long_words_.push_back({begin, end, count});
}

// Calls visit(left, right, place, count) for each adjacent position, in the order of places.
template <class Visit>
void Trainer::for_each_pair(Visit visit) {
  std::size_t words = 0;
  for (std::size_t at = 0; at < cells_.size(); at += kHeader + cells_[at]) {
    if (++words % kPollEvery == 0) poll_interrupt();
    const std::uint32_t* symbols = &cells_[at + kHeader];
    const std::int64_t count = count_of(&cells_[at]);
    for (std::size_t i = 0; i + 1 < cells_[at]; ++i) {
      visit(symbols[i], symbols[i + 1], static_cast<std::uint32_t>(at), count);
    }
  }
  for (const LongWord& word : long_words_) {
    for (std::uint32_t node = word.begin; node + 1 < word.end; ++node) {
      if (node % kPollEvery == 0) poll_interrupt();
      visit(symbol_[node], symbol_[node + 1], node | kLong, word.count);
    }
  }
}

void Trainer::index_pairs() {
  // Two walks over all positions: a square of the few symbols there are at first is faster than the
  // hash table.
  const std::size_t side = tokens_.size() <= kSmallVocabulary ? tokens_.size() : 0;
  std::vector<std::uint32_t> square(side * side, kNone);
  std::vector<std::uint32_t> last;
  const auto number_of = [&](std::uint32_t left, std::uint32_t right) {
    if (side == 0) return pairs_.find_or_add(left, right);
    std::uint32_t& number = square[left * side + right];
    if (number == kNone) number = pairs_.find_or_add(left, right);
    return number;
  };
  for_each_pair(
      [&](std::uint32_t left, std::uint32_t right, std::uint32_t place, std::int64_t count) {
        const std::uint32_t number = number_of(left, right);
        if (number == last.size()) last.push_back(kNone);
        PairRecord& record = pairs_[number];
        record.count += count;
        record.n_places += last[number] != place;
        last[number] = place;
      });
  queue_.reserve(pairs_.size());
  for (std::uint32_t number = 0; number < pairs_.size(); ++number) {
    PairRecord& record = pairs_[number];
    record.places = arena_.take(record.n_places);
    record.n_places = 0;
    last[number] = kNone;
    queue_.push_back({record.count, record.left, record.right, number});
  }
  for_each_pair([&](std::uint32_t left, std::uint32_t right, std::uint32_t place, std::int64_t) {
    const std::uint32_t number = number_of(left, right);
    if (last[number] == place) return;
    PairRecord& record = pairs_[number];
    record.places[record.n_places++] = place;
    last[number] = place;
  });
  std::make_heap(queue_.begin(), queue_.end());
}

bool Trainer::run(std::int64_t merges) {
  if (!started_) {
    started_ = true;
    index_pairs();
    token_counts_.push_back(total_);
  }
  const std::int64_t least = std::max<std::int64_t>(1, options_.min_frequency);
  for (; merges > 0; --merges) {
    poll_interrupt();
    if (static_cast<std::int64_t>(tokens_.size()) >= options_.vocab_size) return false;
    // Counts in the queue are those of the time of their push, and only ever too high.
    for (;;) {
      if (queue_.empty()) return false;
      std::pop_heap(queue_.begin(), queue_.end());
      Candidate& best = queue_.back();
      const std::int64_t count = pairs_[pairs_[best.record].owner].count;
      if (count == best.count) break;
      best.count = count;
      std::push_heap(queue_.begin(), queue_.end());
    }
    const Candidate best = queue_.back();
    queue_.pop_back();
    if (best.count < least) {
      queue_.clear();
      return false;
    }
    const std::uint32_t id = intern(best.left, best.right);
    merges_.push_back({best.left, best.right, id});
    apply(best.record, id);
    token_counts_.push_back(total_);
  }
  return true;
}

std::uint32_t Trainer::intern(std::uint32_t left, std::uint32_t right) {
  const auto fresh = static_cast<std::uint32_t>(tokens_.size());
  const auto [found, added] = ids_.emplace(tokens_[left] + tokens_[right], fresh);
  if (added) tokens_.push_back(found->first);
  return found->second;
}

void Trainer::apply(std::uint32_t record, std::uint32_t id) {
  const PairRecord merged = pairs_[record];
  before_.by_symbol.resize(tokens_.size());
  after_.by_symbol.resize(tokens_.size());
  current_word_ = 0;
  for (std::size_t i = 0; i < merged.n_places; ++i) {
    if (i % kPollEvery == kPollEvery - 1) poll_interrupt();
    if (i + kAhead < merged.n_places) {
      const std::uint32_t ahead = merged.places[i + kAhead];
      if ((ahead & kLong) != 0) {
        __builtin_prefetch(&symbol_[ahead & ~kLong]);
      } else {
        __builtin_prefetch(&cells_[ahead]);
      }
    }
    const std::uint32_t place = merged.places[i];
    if ((place & kLong) != 0) {
      merge_linked(place & ~kLong, merged.left, merged.right, id);
    } else {
      merge_short(place, merged.left, merged.right, id);
    }
  }
  for (const std::uint32_t symbol : before_.touched) {
    pairs_.prefetch(symbol, id);
    pairs_.prefetch(symbol, merged.left);
  }
  for (const std::uint32_t symbol : after_.touched) {
    pairs_.prefetch(id, symbol);
    pairs_.prefetch(merged.right, symbol);
  }
  register_pairs(before_, true, id);
  register_pairs(after_, false, id);
  discount_pairs(before_, true, merged.left);
  discount_pairs(after_, false, merged.right);
  push_candidates(before_);
  push_candidates(after_);
  before_.clear();
  after_.clear();
  arena_.give_back(merged.places, merged.n_places);
  pairs_[record].places = nullptr;
  pairs_[record].n_places = 0;
}

void Trainer::merge_short(std::uint32_t place, std::uint32_t left, std::uint32_t right,
                          std::uint32_t id) {
  std::uint32_t* word = &cells_[place];
  std::uint32_t* symbols = word + kHeader;
  const std::uint32_t length = word[0];
  const std::int64_t count = count_of(word);
  std::uint32_t in = 0;
  std::uint32_t out = 0;
  while (in < length) {
    if (symbols[in] != left || in + 1 == length || symbols[in + 1] != right) {
      symbols[out++] = symbols[in++];
      continue;
    }
    if (out > 0) before_.note(symbols[out - 1], count, place);
    if (in + 2 < length) after_.note(symbols[in + 2], count, place);
    symbols[out++] = id;
    in += 2;
  }
  total_ -= static_cast<std::int64_t>(length - out) * count;
  word[0] = out;
}

void Trainer::merge_linked(std::uint32_t node, std::uint32_t left, std::uint32_t right,
                           std::uint32_t id) {
  if (symbol_[node] != left) return;
  const std::uint32_t second = next_[node];
  if (second == kNone || symbol_[second] != right) return;
  const std::int64_t count = word_of(node).count;
  const std::uint32_t previous = previous_[node];
  const std::uint32_t next = next_[second];
  symbol_[node] = id;
  symbol_[second] = kNone;
  next_[node] = next;
  if (previous != kNone) before_.note(symbol_[previous], count, previous | kLong);
  if (next != kNone) {
    previous_[next] = node;
    after_.note(symbol_[next], count, node | kLong);
  }
  total_ -= count;
}

// Places come in ascending order, so the word is nearly always the last one or the next.
const Trainer::LongWord& Trainer::word_of(std::uint32_t node) {
  const LongWord& word = long_words_[current_word_];
  if (node >= word.begin && node < word.end) return word;
  const auto found = std::upper_bound(
      long_words_.begin(), long_words_.end(), node,
      [](std::uint32_t at, const LongWord& candidate) { return at < candidate.end; });
  current_word_ = static_cast<std::size_t>(found - long_words_.begin());
  return *found;
}

// Adds the pairs (symbol, id), or (id, symbol), that a merge has formed, with their places.
void Trainer::register_pairs(Side& side, bool new_on_right, std::uint32_t id) {
  side.records.clear();
  for (const std::uint32_t symbol : side.touched) {
    Neighbour& neighbour = side.by_symbol[symbol];
    const auto length = static_cast<std::int64_t>(tokens_[symbol].size() + tokens_[id].size());
    if (length >= options_.max_token_length) {
      neighbour.last_place = kNone;
      continue;
    }
    const std::uint32_t owner =
        new_on_right ? pairs_.find_or_add(symbol, id) : pairs_.find_or_add(id, symbol);
    const std::uint32_t number = pairs_[owner].n_places == 0 ? owner : pairs_.add_alias(owner);
    pairs_[owner].count += neighbour.count;
    PairRecord& record = pairs_[number];
    record.places = arena_.take(neighbour.n_places);
    // From here on the neighbour's last_place is the record that takes its places.
    neighbour.last_place = number;
    side.records.push_back(number);
  }
  for (const Hit& hit : side.hits) {
    const std::uint32_t number = side.by_symbol[hit.symbol].last_place;
    if (number == kNone) continue;
    PairRecord& record = pairs_[number];
    record.places[record.n_places++] = hit.place;
  }
}

// Takes away the pairs (symbol, merged symbol), or the other way round, that a merge has broken.
void Trainer::discount_pairs(const Side& side, bool merged_on_right, std::uint32_t symbol) {
  for (const std::uint32_t other : side.touched) {
    const std::uint32_t number =
        merged_on_right ? pairs_.find_or_add(other, symbol) : pairs_.find_or_add(symbol, other);
    pairs_[number].count -= side.by_symbol[other].count;
  }
}

void Trainer::push_candidates(const Side& side) {
  for (const std::uint32_t number : side.records) {
    const PairRecord& record = pairs_[number];
    const std::int64_t count = pairs_[record.owner].count;
    if (count <= 0) continue;
    queue_.push_back({count, record.left, record.right, number});
    std::push_heap(queue_.begin(), queue_.end());
  }
}

}  // namespace tokfrag
