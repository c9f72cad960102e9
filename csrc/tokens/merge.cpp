#include "tokens/merge.hpp"

#include <algorithm>
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

std::int64_t Merger::merge_short(const std::uint8_t* text, int length, std::uint32_t* ids) const {
  Symbol symbols[kShort + 1];
  Rank ranks[kShort + 1];  // ranks[i]: of the pair (i, i + 1)
  int count = length;
  for (int i = 0; i < count; ++i) symbols[i] = vocabulary_->byte_symbol(text[i]);
  for (int i = 0; i + 1 < count; ++i) ranks[i] = pairs_->find_bytes(text[i], text[i + 1]);
  ranks[count - 1] = kNoRank;
  for (;;) {
    // The rank above, the place below: without a branch, the leftmost of equals.
    std::uint64_t first = ~0ull;
    for (int i = 0; i < count; ++i) {
      first =
          std::min(first, static_cast<std::uint64_t>(ranks[i]) << 32 | static_cast<unsigned>(i));
    }
    const auto lowest = static_cast<Rank>(first >> 32);
    const auto best = static_cast<int>(first & 0xFFFFFFFF);
    if (lowest == kNoRank) break;
    symbols[best] = pairs_->merged(lowest);
    --count;
    for (int i = best + 1; i < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
    }
    ranks[best] = best + 1 < count ? pairs_->find(symbols[best], symbols[best + 1]) : kNoRank;
    if (best > 0) ranks[best - 1] = pairs_->find(symbols[best - 1], symbols[best]);
  }
  for (int i = 0; i < count; ++i) ids[i] = vocabulary_->id(symbols[i]);
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
  if (length <= kShort) return merge_short(text, static_cast<int>(length), ids);
  return merge_long(text, length, scratch, ids);
}

}  // namespace tokfrag
