#include "tokens/byte_pair/merge.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>

#include "core/interrupt.hpp"

namespace tokfrag {

namespace {

// A heap entry: the rank above, the position below, so that equals come out from the left.
constexpr int kPositionBits = 42;

std::uint64_t heap_entry(Rank rank, std::int64_t position) {
  return (static_cast<std::uint64_t>(rank) << kPositionBits) | static_cast<std::uint64_t>(position);
}

}  // namespace

void MergeScratch::trim() {
  constexpr std::size_t kKeep = 1 << 14;
  if (nodes_.capacity() > kKeep) std::vector<Node>().swap(nodes_);
  if (heap_.capacity() > kKeep) std::vector<std::uint64_t>().swap(heap_);
}

// The merging of one short word, a step at a time. Symbols stay where they begin; a mask says which
// places still hold one, and every search is over a fixed number of places: nothing to mispredict.
class Merger::ShortMerge {
 public:
  void begin(const Merger& merger, const std::uint8_t* text, std::int64_t length) {
    const auto count = static_cast<int>(length);
    wide_ = count > kNarrow;
    alive_ = static_cast<std::uint32_t>((std::uint64_t{1} << count) - 1);
    for (int i = 0; i < count; ++i) symbols_[i] = merger.vocabulary_->byte_symbol(text[i]);
    for (int i = 0; i + 1 < count; ++i) {
      keys_[i] = key_of(merger.pairs_->find_bytes(text[i], text[i + 1]), i);
    }
    std::fill(keys_ + count - 1, keys_ + (wide_ ? kWide : kNarrow), kNoKey);
  }

  // Merges the pair of the lowest rank and asks for the ranks of its new neighbours; false if there
  // is none.
  bool merge(const PairTable& pairs) {
    const std::int32_t first = wide_ ? lowest<kWide>() : lowest<kNarrow>();
    if (first == kNoKey) return false;
    at_ = first & (kWide - 1);
    symbols_[at_] = pairs.merged(static_cast<Rank>(first >> kPlaceBits));
    const int eaten = __builtin_ctz(above());
    alive_ &= ~(1u << eaten);
    keys_[eaten] = kNoKey;
    if (above() != 0) pairs.prefetch(symbols_[at_], symbols_[next()]);
    if (below() != 0) pairs.prefetch(symbols_[previous()], symbols_[at_]);
    return true;
  }

  // Reads the ranks that merge() has asked for.
  void rate(const PairTable& pairs) {
    keys_[at_] = above() != 0 ? key_of(pairs.find(symbols_[at_], symbols_[next()]), at_) : kNoKey;
    if (below() != 0) {
      keys_[previous()] = key_of(pairs.find(symbols_[previous()], symbols_[at_]), previous());
    }
  }

  std::int64_t finish(const Vocabulary& vocabulary, std::uint32_t* ids) const {
    std::int64_t count = 0;
    for (std::uint32_t left = alive_; left != 0; left &= left - 1) {
      ids[count++] = vocabulary.id(symbols_[__builtin_ctz(left)]);
    }
    return count;
  }

 private:
  static constexpr int kPlaceBits = 5;
  static constexpr int kWide = 1 << kPlaceBits;
  static constexpr int kNarrow = 16;
  static constexpr std::int32_t kNoKey = INT32_MAX;
  static_assert(kWide == MergeJob::kMaxLength && (kMaxRanks << kPlaceBits) < kNoKey);

  // The rank above, the place below: of equals the leftmost is the lowest.
  static std::int32_t key_of(Rank rank, int place) {
    return rank == kNoRank ? kNoKey : static_cast<std::int32_t>(rank << kPlaceBits) | place;
  }
  template <int kPlaces>
  std::int32_t lowest() const {
    std::int32_t first = kNoKey;
    for (int i = 0; i < kPlaces; ++i) first = std::min(first, keys_[i]);
    return first;
  }
  // Places that hold a symbol, after and before the one merged last.
  std::uint32_t above() const { return alive_ & ~((2u << at_) - 1); }
  std::uint32_t below() const { return alive_ & ((1u << at_) - 1); }
  int next() const { return __builtin_ctz(above()); }
  int previous() const { return 31 - __builtin_clz(below()); }

  Symbol symbols_[kWide];
  std::int32_t keys_[kWide];  // keys_[i]: of the pair that the symbol at i begins
  std::uint32_t alive_;
  int at_ = 0;  // where the last merge was
  bool wide_;
};

void Merger::operator()(MergeJob* jobs, int count) const {
  ShortMerge merges[kJobs];
  int active[kJobs];
  for (int i = 0; i < count; ++i) {
    merges[i].begin(*this, jobs[i].text, jobs[i].length);
    active[i] = i;
  }
  int left = count;
  while (left > 0) {
    int still = 0;
    for (int i = 0; i < left; ++i) {
      if (merges[active[i]].merge(*pairs_)) active[still++] = active[i];
    }
    left = still;
    for (int i = 0; i < left; ++i) merges[active[i]].rate(*pairs_);
  }
  for (int i = 0; i < count; ++i) jobs[i].count = merges[i].finish(*vocabulary_, jobs[i].ids);
}

// The ids of `length` times a byte; 0 where these cannot be told without looking at every place.
//
// What there is, is always a symbol m times and a few others behind it. If two of that symbol are
// the pair to merge, then, from the left, all of them are, unless what comes of the first is to be
// merged before the next: that is looked at.
std::int64_t Merger::merge_run(std::uint8_t byte, std::int64_t length, std::uint32_t* ids) const {
  Symbol body = vocabulary_->byte_symbol(byte);
  std::int64_t times = length;
  std::vector<Symbol> tail;  // the last first
  for (;;) {
    while (!tail.empty() && tail.back() == body) {
      tail.pop_back();
      ++times;
    }
    if (times == 0) {
      if (tail.empty()) break;
      body = tail.back();
      tail.pop_back();
      times = 1;
      continue;
    }
    const Rank in_body = times > 1 ? pairs_->find(body, body) : kNoRank;
    // The best pair behind: of the body's last with the first of the tail, or within the tail.
    Rank best = kNoRank;
    std::size_t left = 0;
    for (std::size_t at = tail.size(); at > 0; --at) {
      const Symbol before = at == tail.size() ? body : tail[at];
      const Rank rank = pairs_->find(before, tail[at - 1]);
      if (rank < best) {
        best = rank;
        left = at;
      }
    }
    if (in_body == kNoRank && best == kNoRank) break;
    if (in_body <= best) {
      const Symbol joined = pairs_->merged(in_body);
      if (pairs_->find(joined, joined) <= in_body || pairs_->find(joined, body) <= in_body) {
        return 0;
      }
      if (times % 2 != 0) tail.push_back(body);
      body = joined;
      times /= 2;
      continue;
    }
    tail[left - 1] = pairs_->merged(best);
    if (left == tail.size()) {
      --times;
    } else {
      tail.erase(tail.begin() + static_cast<std::ptrdiff_t>(left));
    }
  }
  std::int64_t count = times;
  std::fill(ids, ids + times, vocabulary_->id(body));
  for (auto symbol = tail.rbegin(); symbol != tail.rend(); ++symbol) {
    ids[count++] = vocabulary_->id(*symbol);
  }
  return count;
}

std::int64_t Merger::merge_long(const std::uint8_t* text, std::int64_t length,
                                MergeScratch* scratch, std::uint32_t* ids) const {
  auto& nodes = scratch->nodes_;
  auto& heap = scratch->heap_;
  nodes.resize(static_cast<std::size_t>(length));
  heap.clear();
  for (std::int64_t i = 0; i < length; ++i) {
    const Rank rank = i + 1 < length ? pairs_->find_bytes(text[i], text[i + 1]) : kNoRank;
    nodes[static_cast<std::size_t>(i)] = {vocabulary_->byte_symbol(text[i]), rank, i - 1, i + 1};
    if (rank != kNoRank) heap.push_back(heap_entry(rank, i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto rate = [&](std::int64_t at) {
    auto& node = nodes[static_cast<std::size_t>(at)];
    node.rank = node.next < length
                    ? pairs_->find(node.symbol, nodes[static_cast<std::size_t>(node.next)].symbol)
                    : kNoRank;
    if (node.rank != kNoRank) {
      heap.push_back(heap_entry(node.rank, at));
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  };
  std::int64_t polls = 0;
  while (!heap.empty()) {
    const std::uint64_t entry = heap.front();
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    if ((++polls & 0xFFF) == 0) poll_interrupt();
    const auto at = static_cast<std::int64_t>(entry & ((1ull << kPositionBits) - 1));
    const auto rank = static_cast<Rank>(entry >> kPositionBits);
    auto& node = nodes[static_cast<std::size_t>(at)];
    if (node.symbol == kNoSymbol || node.rank != rank) continue;  // an entry gone stale
    auto& eaten = nodes[static_cast<std::size_t>(node.next)];
    node.symbol = pairs_->merged(rank);
    eaten.symbol = kNoSymbol;
    node.next = eaten.next;
    if (node.next < length) nodes[static_cast<std::size_t>(node.next)].previous = at;
    rate(at);
    if (node.previous >= 0) rate(node.previous);
  }
  std::int64_t count = 0;
  for (std::int64_t at = 0; at < length; at = nodes[static_cast<std::size_t>(at)].next) {
    ids[count++] = vocabulary_->id(nodes[static_cast<std::size_t>(at)].symbol);
  }
  return count;
}

std::int64_t Merger::operator()(const std::uint8_t* text, std::int64_t length,
                                MergeScratch* scratch, std::uint32_t* ids) const {
  if (length <= MergeJob::kMaxLength) {
    ShortMerge merge;
    merge.begin(*this, text, length);
    while (merge.merge(*pairs_)) merge.rate(*pairs_);
    return merge.finish(*vocabulary_, ids);
  }
  if (std::memcmp(text, text + 1, static_cast<std::size_t>(length - 1)) == 0) {
    const std::int64_t count = merge_run(text[0], length, ids);
    if (count > 0) return count;
  }
  return merge_long(text, length, scratch, ids);
}

}  // namespace tokfrag
