#include "tokens/text/special_tokens.hpp"

#include <algorithm>
#include <stdexcept>

#include "core/interrupt.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kPollBytes = 1 << 20;  // of text, between two polls for Ctrl-C

std::uint64_t edge_key(std::uint32_t state, std::uint8_t byte) {
  return static_cast<std::uint64_t>(state) << 8 | byte;
}

std::size_t edge_home(std::uint64_t key, std::size_t mask) {
  return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ull) >> 32) & mask;
}

}  // namespace

SpecialTokens::SpecialTokens(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
  std::size_t bytes = 0;
  for (const Token& token : tokens_) bytes += token.text.size();
  std::size_t capacity = 64;
  while (capacity < bytes * 2) capacity *= 2;
  edges_.assign(capacity, Edge{kFree, kRoot});
  edge_keys_.reserve(bytes);
  nodes_.reserve(bytes + 1);
  nodes_.emplace_back();
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i].text.empty()) throw std::invalid_argument("special_tokens: a token is empty");
    State state = kRoot;
    for (const char c : tokens_[i].text) state = add_child(state, static_cast<std::uint8_t>(c));
    if (nodes_[state].token >= 0) {
      throw std::invalid_argument("special_tokens: '" + tokens_[i].text + "' is there twice");
    }
    nodes_[state].token = static_cast<std::int64_t>(i);
    first_bytes_[static_cast<std::uint8_t>(tokens_[i].text[0])] = 1;
  }
  link();
}

SpecialTokens::State SpecialTokens::child(State state, std::uint8_t byte) const {
  const std::uint64_t key = edge_key(state, byte);
  const std::size_t mask = edges_.size() - 1;
  for (std::size_t at = edge_home(key, mask);; at = (at + 1) & mask) {
    if (edges_[at].key == key) return edges_[at].to;
    if (edges_[at].key == kFree) return kRoot;
  }
}

SpecialTokens::State SpecialTokens::add_child(State state, std::uint8_t byte) {
  if (const State there = child(state, byte); there != kRoot) return there;
  const auto added = static_cast<State>(nodes_.size());
  Node node;
  node.depth = nodes_[state].depth + 1;
  nodes_.push_back(node);
  const std::uint64_t key = edge_key(state, byte);
  const std::size_t mask = edges_.size() - 1;
  std::size_t at = edge_home(key, mask);
  while (edges_[at].key != kFree) at = (at + 1) & mask;
  edges_[at] = {key, added};
  edge_keys_.push_back(key);
  return added;
}

void SpecialTokens::link() {
  // States in order of depth: each one's fallback is then known before its children's.
  std::stable_sort(edge_keys_.begin(), edge_keys_.end(), [&](std::uint64_t a, std::uint64_t b) {
    return nodes_[static_cast<State>(a >> 8)].depth < nodes_[static_cast<State>(b >> 8)].depth;
  });
  for (const std::uint64_t key : edge_keys_) {
    const auto parent = static_cast<State>(key >> 8);
    const auto byte = static_cast<std::uint8_t>(key & 0xFF);
    Node& node = nodes_[child(parent, byte)];
    if (parent == kRoot) continue;
    State state = nodes_[parent].fallback;
    while (state != kRoot && child(state, byte) == kRoot) state = nodes_[state].fallback;
    node.fallback = child(state, byte);
    const Node& fallback = nodes_[node.fallback];
    node.shorter = fallback.token >= 0 ? node.fallback : fallback.shorter;
  }
  edge_keys_ = {};
}

SpecialTokens::Match SpecialTokens::find(const std::uint8_t* text, std::int64_t size,
                                         std::int64_t from, const std::uint8_t* wanted) const {
  constexpr std::int64_t kPoll = 1 << 20;
  Match best{0, 0, -1};
  State state = kRoot;
  std::int64_t next_poll = from + kPoll;
  for (std::int64_t i = from; i < size; ++i) {
    if (i >= next_poll) {
      next_poll = i + kPoll;
      poll_interrupt();
    }
    if (state == kRoot) {
      const std::int64_t stop = std::min(size, next_poll);
      while (i < stop && first_bytes_[text[i]] == 0) ++i;
      if (i == size) break;
      if (i == stop) {
        --i;  // look at it once the poll is done
        continue;
      }
    }
    State next = child(state, text[i]);
    while (next == kRoot && state != kRoot) {
      state = nodes_[state].fallback;
      next = child(state, text[i]);
    }
    state = next;
    // All that is still to come begins at or after this.
    if (best.token >= 0 && i + 1 - nodes_[state].depth > best.begin) return best;
    for (State at = state; at != kRoot; at = nodes_[at].shorter) {
      const Node& node = nodes_[at];
      if (node.token < 0 || (wanted != nullptr && wanted[node.token] == 0)) continue;
      const std::int64_t begin = i + 1 - node.depth;
      if (best.token < 0 || begin <= best.begin) best = {begin, i + 1, node.token};
      break;
    }
  }
  return best;
}

}  // namespace tokfrag
