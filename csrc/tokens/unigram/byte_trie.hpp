// A trie over bytes as a double array: child `byte` of a node is at base + byte, if its check names
// the node. Sixteen bytes a node, with the score of the token that ends there.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace tokfrag {

class ByteTrie {
 public:
  static constexpr std::uint32_t kRoot = 0;
  static constexpr std::uint32_t kNoNode = 0xFFFFFFFFu;
  static constexpr double kNoScore = -std::numeric_limits<double>::infinity();

  // Keys are not empty and all different. Throws std::invalid_argument if one is not so.
  ByteTrie(const std::vector<std::string>& keys, const std::vector<double>& scores);

  std::uint32_t child(std::uint32_t node, std::uint8_t byte) const {
    const std::uint32_t at = nodes_[node].base + byte;
    return nodes_[at].check == node ? at : kNoNode;
  }
  // kNoScore where no key ends.
  double score(std::uint32_t node) const { return nodes_[node].score; }
  // Which key ends at a node that has a score.
  std::uint32_t key(std::uint32_t node) const { return keys_[node]; }

 private:
  struct Node {
    std::uint32_t base = 0;
    std::uint32_t check = kNoNode;
    double score = kNoScore;
  };

  std::vector<Node> nodes_;
  std::vector<std::uint32_t> keys_;  // by node
};

}  // namespace tokfrag
