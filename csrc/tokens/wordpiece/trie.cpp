#include "tokens/wordpiece/trie.hpp"

#include <algorithm>
#include <utility>

namespace tokfrag {

namespace {

constexpr std::uint32_t kNoToken = 0xffffffffu;

// The trie as it is easiest to build: children in lists, nodes in the order of their making.
struct PlainNode {
  std::vector<std::pair<std::uint8_t, std::uint32_t>> children;
  std::uint32_t token = kNoToken;
};

class PlainTrie {
 public:
  explicit PlainTrie(std::uint32_t roots) : nodes(roots) {}

  void insert(std::uint32_t node, std::string_view text, std::uint32_t token) {
    for (const char byte : text) node = child(node, static_cast<std::uint8_t>(byte));
    nodes[node].token = token;
  }

  std::vector<PlainNode> nodes;

 private:
  std::uint32_t child(std::uint32_t node, std::uint8_t byte) {
    for (const auto& [label, next] : nodes[node].children) {
      if (label == byte) return next;
    }
    const auto made = static_cast<std::uint32_t>(nodes.size());
    nodes[node].children.emplace_back(byte, made);
    nodes.emplace_back();
    return made;
  }
};

constexpr std::uint32_t kWords = 0;
constexpr std::uint32_t kSuffixes = 1;

PlainTrie plain_trie(const std::vector<std::string>& tokens, std::string_view prefix) {
  PlainTrie trie(2);
  for (std::uint32_t id = 0; id < tokens.size(); ++id) {
    const std::string_view token = tokens[id];
    if (!token.empty()) trie.insert(kWords, token, id);
    if (token.size() > prefix.size() && token.substr(0, prefix.size()) == prefix) {
      trie.insert(kSuffixes, token.substr(prefix.size()), id);
    }
  }
  return trie;
}

}  // namespace

WordPieceTrie::WordPieceTrie(const std::vector<std::string>& tokens, std::string_view prefix) {
  const PlainTrie plain = plain_trie(tokens, prefix);

  // Places: breadth first, each node's children at the first base where all of them fit. An only
  // child fills the first hole; several are tried near the end of what is used, so that the search
  // stays short. The two roots are at 0 and 1; every base is above them.
  constexpr std::uint32_t kBytes = 256;
  constexpr std::uint32_t kNear = 1024;
  std::vector<std::uint32_t> place(plain.nodes.size(), kNone);
  std::vector<std::uint32_t> order{kWords, kSuffixes};
  std::uint32_t first_free = kBytes + 2;
  std::uint32_t used = first_free;
  nodes_.resize(4 * kBytes);
  const auto is_free = [&](std::uint32_t slot) { return nodes_[slot].parent == kNone; };
  place[kWords] = kRoot;
  place[kSuffixes] = suffix_root_ = 1;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const PlainNode& node = plain.nodes[order[i]];
    const std::uint32_t at = place[order[i]];
    if (node.children.empty()) continue;
    while (!is_free(first_free)) {
      if (++first_free + kBytes >= nodes_.size()) nodes_.resize(nodes_.size() * 2);
    }
    std::uint32_t base = first_free - node.children[0].first;
    if (node.children.size() > 1 && used > base + kNear) base = used - kNear;
    for (bool fits = false; !fits; base += !fits) {
      if (base + kBytes >= nodes_.size()) nodes_.resize(nodes_.size() * 2);
      fits = true;
      for (const auto& [byte, child] : node.children) fits = fits && is_free(base + byte);
    }
    nodes_[at].base = base;
    for (const auto& [byte, child] : node.children) {
      place[child] = base + byte;
      nodes_[base + byte].parent = at;
      used = std::max(used, base + byte);
      order.push_back(child);
    }
  }
  // A leaf may keep base 0: bytes lead from it to nodes whose parent is another.

  // Failure links, parents before children.
  pops_.push_back(0);
  for (const std::uint32_t number : order) {
    const std::uint32_t at = place[number];
    for (const auto& [byte, child] : plain.nodes[number].children) {
      Node& node = nodes_[place[child]];
      if (plain.nodes[child].token != kNoToken) {
        node.failure = suffix_root_;
        node.pops = static_cast<std::uint32_t>(pops_.size());
        pops_.push_back(1);
        pops_.push_back(plain.nodes[child].token);
        continue;
      }
      std::vector<std::uint32_t> pops;
      const auto pop = [&](std::uint32_t from) {
        const std::uint32_t* list = &pops_[nodes_[from].pops];
        pops.insert(pops.end(), list + 1, list + 1 + list[0]);
      };
      pop(at);
      std::uint32_t from = nodes_[at].failure;
      while (from != kNone && nodes_[nodes_[from].base + byte].parent != from) {
        pop(from);
        from = nodes_[from].failure;
      }
      if (from == kNone) continue;
      node.failure = nodes_[from].base + byte;
      node.pops = static_cast<std::uint32_t>(pops_.size());
      pops_.push_back(static_cast<std::uint32_t>(pops.size()));
      pops_.insert(pops_.end(), pops.begin(), pops.end());
    }
  }
}

}  // namespace tokfrag
