// Finding special tokens in text: an Aho-Corasick automaton, so that a hundred thousand of them
// cost no more than one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tokfrag {

class SpecialTokens {
 public:
  struct Token {
    std::string text;
    std::uint32_t id;
  };
  struct Match {
    std::int64_t begin;
    std::int64_t end;
    std::int64_t token;  // an index into tokens(); -1: no match
  };

  explicit SpecialTokens(std::vector<Token> tokens);

  const std::vector<Token>& tokens() const { return tokens_; }

  // The leftmost occurrence in text[from, size) of a token that `wanted` allows (a byte a token,
  // not 0; null: all); of those that begin at one place, the longest.
  Match find(const std::uint8_t* text, std::int64_t size, std::int64_t from,
             const std::uint8_t* wanted) const;

 private:
  using State = std::uint32_t;
  static constexpr State kRoot = 0;
  static constexpr std::uint64_t kFree = ~0ull;

  struct Node {
    State fallback = kRoot;   // the longest proper suffix that is a state
    State shorter = kRoot;    // the longest proper suffix that is a token; kRoot: none
    std::int64_t token = -1;  // that ends here
    std::int64_t depth = 0;
  };
  struct Edge {
    std::uint64_t key;  // state and byte
    State to;
  };

  State child(State state, std::uint8_t byte) const;  // kRoot: none
  State add_child(State state, std::uint8_t byte);
  void link();

  std::vector<Token> tokens_;
  std::vector<Node> nodes_;
  std::vector<Edge> edges_;  // open addressing, at most half full
  std::vector<std::uint64_t> edge_keys_;
  std::uint8_t first_bytes_[256] = {};
};

}  // namespace tokfrag
