// What single characters are written as, and sets of characters.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tokens/text/byte_runs.hpp"

namespace tokfrag {

class CharacterMap {
 public:
  // Throws std::invalid_argument for a point beyond U+10FFFF.
  explicit CharacterMap(std::vector<std::pair<std::uint32_t, std::string>> rules);

  // What a character is written as; null: it stays as it is.
  const std::string* find(std::uint32_t point) const {
    const std::uint32_t place = places_[std::size_t{pages_[point >> 8]} << 8 | (point & 0xFF)];
    return place == 0 ? nullptr : &rules_[place - 1].second;
  }
  // The ASCII characters that stay.
  const AsciiSet& kept() const { return kept_; }
  const std::vector<std::pair<std::uint32_t, std::string>>& rules() const { return rules_; }

 private:
  std::vector<std::pair<std::uint32_t, std::string>> rules_;
  std::vector<std::uint16_t> pages_;   // by point >> 8; page 0 is empty
  std::vector<std::uint32_t> places_;  // 1 + the place of the rule, or 0
  AsciiSet kept_;
};

// A bit a code point.
class PointSet {
 public:
  PointSet() : bits_(0x110000 / 64) {}
  void add(std::uint32_t point) { bits_[point >> 6] |= std::uint64_t{1} << (point & 63); }
  bool holds(std::uint32_t point) const { return (bits_[point >> 6] >> (point & 63) & 1) != 0; }

 private:
  std::vector<std::uint64_t> bits_;
};

}  // namespace tokfrag
