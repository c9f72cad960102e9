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
  if (begins_.capacity() > kKeep) std::vector<std::uint32_t>().swap(begins_);
}

std::int64_t Merger::ids_of(const ShortMerge& word, std::uint32_t* ids) const {
  std::int64_t count = 0;
  for (std::uint32_t left = word.alive; left != 0; left &= left - 1) {
    ids[count++] = vocabulary_->id(word.symbols[__builtin_ctz(left)]);
  }
  return count;
}

void Merger::operator()(MergeJob* jobs, int count) const {
  const ShortMergeKernels& kernels = short_merge_kernels();
  ShortMerge words[kJobs];
  for (int i = 0; i < count; ++i) {
    kernels.begin(byte_tables(), jobs[i].text, static_cast<int>(jobs[i].length), words + i);
  }
  kernels.finish(pairs_->view(), words, count);
  for (int i = 0; i < count; ++i) jobs[i].count = ids_of(words[i], jobs[i].ids);
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

void Merger::merge_heap(const std::uint8_t* text, std::int64_t length,
                        MergeScratch* scratch) const {
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
}

std::int64_t Merger::operator()(const std::uint8_t* text, std::int64_t length,
                                MergeScratch* scratch, std::uint32_t* ids) const {
  if (length <= MergeJob::kMaxLength) {
    const ShortMergeKernels& kernels = short_merge_kernels();
    ShortMerge word;
    kernels.begin(byte_tables(), text, static_cast<int>(length), &word);
    kernels.finish(pairs_->view(), &word, 1);
    return ids_of(word, ids);
  }
  if (std::memcmp(text, text + 1, static_cast<std::size_t>(length - 1)) == 0) {
    const std::int64_t count = merge_run(text[0], length, ids);
    if (count > 0) return count;
  }
  std::int64_t count = merge_windows(text, length, scratch, ids);
  if (count > 0) return count;
  merge_heap(text, length, scratch);
  const auto& nodes = scratch->nodes_;
  for (std::int64_t at = 0; at < length; at = nodes[static_cast<std::size_t>(at)].next) {
    ids[count++] = vocabulary_->id(nodes[static_cast<std::size_t>(at)].symbol);
  }
  return count;
}

}  // namespace tokfrag
