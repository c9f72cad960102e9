#include "tokens/unigram/byte_trie.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <stdexcept>

namespace tokfrag {

namespace {

// Keys [begin, end) of the sorted list share their first `depth` bytes, which lead to `node`.
struct Range {
  std::uint32_t node;
  std::size_t begin;
  std::size_t end;
  std::size_t depth;
};

}  // namespace

ByteTrie::ByteTrie(const std::vector<std::string>& keys, const std::vector<double>& scores) {
  std::vector<std::uint32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return keys[a] < keys[b]; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (keys[order[i]].empty()) throw std::invalid_argument("a token is empty");
    if (i > 0 && keys[order[i]] == keys[order[i - 1]]) {
      throw std::invalid_argument("a token is there twice: " + keys[order[i]]);
    }
  }
  // 256 places more than any base keep every lookup inside.
  nodes_.resize(1024);
  nodes_[kRoot].check = kRoot;
  std::vector<bool> taken(nodes_.size());
  taken[kRoot] = true;
  // No node with a high first byte could have its children further down: a free place there would
  // be looked at for ever.
  std::size_t first_free = 256;
  std::vector<Range> open{{kRoot, 0, order.size(), 0}};
  std::vector<std::pair<std::uint32_t, std::uint32_t>> found;  // node, key
  std::vector<std::uint8_t> bytes;
  std::vector<std::size_t> starts;
  while (!open.empty()) {
    Range range = open.back();
    open.pop_back();
    if (range.begin < range.end && keys[order[range.begin]].size() == range.depth) {
      const std::uint32_t key = order[range.begin++];
      nodes_[range.node].score = scores[key];
      found.emplace_back(range.node, key);
    }
    if (range.begin == range.end) continue;
    bytes.clear();
    starts.clear();
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const auto byte = static_cast<std::uint8_t>(keys[order[i]][range.depth]);
      if (bytes.empty() || bytes.back() != byte) {
        bytes.push_back(byte);
        starts.push_back(i);
      }
    }
    starts.push_back(range.end);
    // The first base that leaves all children free places. Where a place has been tried for long,
    // the search for other nodes begins later: the array stays dense enough.
    while (taken[first_free]) ++first_free;
    std::size_t place = first_free;
    std::size_t tries = 0;
    std::size_t base = 0;
    for (;; ++place) {
      if (place + 512 > nodes_.size()) {
        nodes_.resize(nodes_.size() * 2);
        taken.resize(nodes_.size());
      }
      if (taken[place]) continue;
      base = place - bytes[0];
      bool fits = true;
      for (const std::uint8_t byte : bytes) fits &= !taken[base + byte];
      if (fits) break;
      if (++tries == 256) {
        first_free = place;
        tries = 0;
      }
    }
    nodes_[range.node].base = static_cast<std::uint32_t>(base);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::size_t at = base + bytes[i];
      taken[at] = true;
      nodes_[at].check = range.node;
      open.push_back({static_cast<std::uint32_t>(at), starts[i], starts[i + 1], range.depth + 1});
    }
  }
  std::size_t used = nodes_.size();
  while (!taken[used - 1]) --used;
  nodes_.resize(used + 256);
  // The root is nobody's child.
  nodes_[kRoot].check = kNoNode;
  keys_.assign(nodes_.size(), 0);
  for (const auto& [node, key] : found) keys_[node] = key;
}

}  // namespace tokfrag
