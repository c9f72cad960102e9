#include "tokens/training/trainer.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "core/checked.hpp"
#include "core/interrupt.hpp"
#include "core/parallel.hpp"

namespace tokfrag {

namespace {

constexpr std::size_t kAhead = 12;        // how far merges prefetch
constexpr std::size_t kPollEvery = 4096;  // places between polls for Ctrl-C
constexpr std::size_t kPartPlaces = 128;  // the fewest that are worth a thread: about 8 us

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

void Trainer::Side::absorb(Side& later) {
  for (const std::uint32_t symbol : later.touched) {
    Neighbour& theirs = later.by_symbol[symbol];
    Neighbour& ours = by_symbol[symbol];
    if (ours.n_places == 0) touched.push_back(symbol);
    ours.count += theirs.count;
    ours.n_places += theirs.n_places;
    theirs = {};
  }
  later.touched.clear();
}

void Trainer::Side::clear() {
  for (const std::uint32_t symbol : touched) by_symbol[symbol] = {};
  touched.clear();
  hits.clear();
}

Trainer::Trainer(std::vector<std::string> tokens, const TrainerOptions& options)
    : options_(options), tokens_(std::move(tokens)), parts_(1) {
  ids_.reserve(static_cast<std::size_t>(options.vocab_size));
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    if (!tokens_[id].empty()) ids_.emplace(tokens_[id], static_cast<std::uint32_t>(id));
  }
}

void Trainer::set_threads(int threads) { threads_ = threads > 0 ? threads : default_threads(); }

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
    if (n_short_words_++ % kMark == 0) marks_.push_back(static_cast<std::uint32_t>(cells_.size()));
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
    if (queue_.empty()) return false;
    Candidate best = queue_.pop();
    for (;;) {
      const std::int64_t count = pairs_[pairs_[best.record].owner].count;
      if (count == best.count) break;
      best.count = count;
      queue_.push(best);
      best = queue_.pop();
    }
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
  merge_places(merged, id);
  const Side& before = parts_[0].before;
  const Side& after = parts_[0].after;
  for (const std::uint32_t symbol : before.touched) {
    pairs_.prefetch(symbol, id);
    pairs_.prefetch(symbol, merged.left);
  }
  for (const std::uint32_t symbol : after.touched) {
    pairs_.prefetch(id, symbol);
    pairs_.prefetch(merged.right, symbol);
  }
  fresh_.clear();
  register_pairs(&Part::before, true, id);
  register_pairs(&Part::after, false, id);
  discount_pairs(before, true, merged.left);
  discount_pairs(after, false, merged.right);
  push_candidates();
  for (Part& part : parts_) {
    part.before.clear();
    part.after.clear();
  }
  arena_.give_back(merged.places, merged.n_places);
  pairs_[record].places = nullptr;
  pairs_[record].n_places = 0;
}

// Merges in every word; the changes are summed in the first part, but hits stay in their own.
void Trainer::merge_places(const PairRecord& merged, std::uint32_t id) {
  const Rule rule{merged.left, merged.right, id};
  const std::size_t most =
      std::clamp<std::size_t>(merged.n_places / kPartPlaces, 1, static_cast<std::size_t>(threads_));
  const bool shared = most > 1 && pace_.share();
  const std::size_t n_parts = shared ? most : 1;
  if (parts_.size() < n_parts) parts_.resize(n_parts);
  const std::uint32_t* begin = merged.places;
  for (std::size_t i = 0; i < n_parts; ++i) {
    Part& part = parts_[i];
    part.before.by_symbol.resize(tokens_.size());
    part.after.by_symbol.resize(tokens_.size());
    part.begin = begin;
    part.end = end_of_word(
        merged, std::max<std::size_t>(merged.n_places * (i + 1) / n_parts, begin - merged.places));
    begin = part.end;
  }
  const auto work = [&] {
    parallel_for(static_cast<std::int64_t>(n_parts), 1, static_cast<int>(n_parts),
                 [&](std::int64_t first, std::int64_t last, int) {
                   for (std::int64_t i = first; i < last; ++i) {
                     merge_part(rule, parts_[static_cast<std::size_t>(i)]);
                   }
                 });
  };
  if (most == 1) {
    merge_part(rule, parts_[0]);
  } else {
    pace_.timed(shared, merged.n_places, work);
  }
  for (std::size_t i = 0; i < n_parts; ++i) {
    total_ -= parts_[i].removed;
    parts_[i].removed = 0;
    if (i == 0) continue;
    parts_[0].before.absorb(parts_[i].before);
    parts_[0].after.absorb(parts_[i].after);
  }
}

// The first place from the given one on that lies in another word than the place before it: parts
// that end there write to no common word. A short word has one place.
const std::uint32_t* Trainer::end_of_word(const PairRecord& merged, std::size_t at) const {
  const std::uint32_t* const end = merged.places + merged.n_places;
  const std::uint32_t* const place = merged.places + at;
  if (place == merged.places || place == end || (place[-1] & kLong) == 0) return place;
  return std::lower_bound(place, end, word_of(place[-1] & ~kLong)->end | kLong);
}

void Trainer::merge_part(const Rule& rule, Part& part) {
  part.word = long_words_.data();
  for (const std::uint32_t* place = part.begin; place < part.end; ++place) {
    if (static_cast<std::size_t>(place - part.begin) % kPollEvery == kPollEvery - 1) {
      poll_interrupt();
    }
    if (static_cast<std::size_t>(part.end - place) > kAhead) {
      const std::uint32_t ahead = place[kAhead];
      __builtin_prefetch((ahead & kLong) != 0 ? &symbol_[ahead & ~kLong] : &cells_[ahead]);
    }
    if ((*place & kLong) != 0) {
      merge_linked(*place & ~kLong, rule, part);
    } else {
      merge_short(*place, rule, part);
    }
  }
}

void Trainer::merge_short(std::uint32_t place, const Rule& rule, Part& part) {
  std::uint32_t* word = &cells_[place];
  std::uint32_t* symbols = word + kHeader;
  const std::uint32_t length = word[0];
  const std::int64_t count = count_of(word);
  std::uint32_t in = 0;
  std::uint32_t out = 0;
  while (in < length) {
    if (symbols[in] != rule.left || in + 1 == length || symbols[in + 1] != rule.right) {
      symbols[out++] = symbols[in++];
      continue;
    }
    if (out > 0) part.before.note(symbols[out - 1], count, place);
    if (in + 2 < length) part.after.note(symbols[in + 2], count, place);
    symbols[out++] = rule.id;
    in += 2;
  }
  part.removed += static_cast<std::int64_t>(length - out) * count;
  word[0] = out;
}

void Trainer::merge_linked(std::uint32_t node, const Rule& rule, Part& part) {
  if (symbol_[node] != rule.left) return;
  const std::uint32_t second = next_[node];
  if (second == kNone || symbol_[second] != rule.right) return;
  // Places come in ascending order, so the word is nearly always the last one or the next.
  if (node < part.word->begin || node >= part.word->end) part.word = word_of(node);
  const std::int64_t count = part.word->count;
  const std::uint32_t previous = previous_[node];
  const std::uint32_t next = next_[second];
  symbol_[node] = rule.id;
  symbol_[second] = kNone;
  next_[node] = next;
  if (previous != kNone) part.before.note(symbol_[previous], count, previous | kLong);
  if (next != kNone) {
    previous_[next] = node;
    part.after.note(symbol_[next], count, node | kLong);
  }
  part.removed += count;
}

const Trainer::LongWord* Trainer::word_of(std::uint32_t node) const {
  return &*std::upper_bound(
      long_words_.begin(), long_words_.end(), node,
      [](std::uint32_t at, const LongWord& candidate) { return at < candidate.end; });
}

// Adds the pairs (symbol, id), or (id, symbol), that a merge has formed, with their places.
void Trainer::register_pairs(Side Part::*which, bool new_on_right, std::uint32_t id) {
  Side& side = parts_[0].*which;
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
    fresh_.push_back(number);
  }
  for (const Part& part : parts_) {
    for (const Hit& hit : (part.*which).hits) {
      const std::uint32_t number = side.by_symbol[hit.symbol].last_place;
      if (number == kNone) continue;
      PairRecord& record = pairs_[number];
      record.places[record.n_places++] = hit.place;
    }
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

void Trainer::push_candidates() {
  for (const std::uint32_t number : fresh_) {
    const PairRecord& record = pairs_[number];
    const std::int64_t count = pairs_[record.owner].count;
    if (count <= 0) continue;
    queue_.push({count, record.left, record.right, number});
  }
}

}  // namespace tokfrag
