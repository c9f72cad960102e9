// Greedy longest match of a word against a WordPiece vocabulary, in time linear in the word.
//
// A trie of whole-word tokens beside one of suffix tokens (those behind "##"), with failure links
// as in Aho-Corasick: where no edge goes on, the tokens that the longest match would have cut off
// here are known ("failure pops"), and so is the node from which the rest is matched. LinMaxMatch:
// Song et al., "Fast WordPiece Tokenization", arXiv 2012.15524.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tokfrag {

class WordPieceTrie {
 public:
  WordPieceTrie() = default;
  // `tokens` by id; those that begin with `prefix` continue words.
  WordPieceTrie(const std::vector<std::string>& tokens, std::string_view prefix);

  // Writes the ids of the tokens of word[0..size) to out, which has room for `size`, and returns
  // how many; -1 if the word is not made of tokens. The word is not empty.
  std::int64_t match(const std::uint8_t* word, std::int64_t size, std::uint32_t* out) const {
    std::uint32_t node = kRoot;
    std::uint32_t* next = out;
    for (std::int64_t i = 0; i < size;) {
      const std::uint32_t child = nodes_[node].base + word[i];
      if (nodes_[child].parent == node) {
        node = child;
        ++i;
      } else if (!fail(&node, &next)) {
        return -1;
      }
    }
    while (node != suffix_root_) {
      if (!fail(&node, &next)) return -1;
    }
    return next - out;
  }

 private:
  // A double array: the child of a node by a byte is at base + byte, if that has the node as
  // parent.
  struct Node {
    std::uint32_t base = 0;
    std::uint32_t parent = kNone;
    std::uint32_t failure = kNone;
    std::uint32_t pops = 0;  // where in pops_ their number and the ids are
  };
  static constexpr std::uint32_t kNone = 0xffffffffu;
  static constexpr std::uint32_t kRoot = 0;

  bool fail(std::uint32_t* node, std::uint32_t** out) const {
    const Node& from = nodes_[*node];
    if (from.failure == kNone) return false;
    const std::uint32_t* pops = &pops_[from.pops];
    for (std::uint32_t i = 1; i <= pops[0]; ++i) *(*out)++ = pops[i];
    *node = from.failure;
    return true;
  }

  std::vector<Node> nodes_;
  std::vector<std::uint32_t> pops_;
  std::uint32_t suffix_root_ = 0;
};

}  // namespace tokfrag
