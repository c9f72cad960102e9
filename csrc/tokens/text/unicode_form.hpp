// A normal form of Unicode (UAX 15) by tables that the caller gives: those of one version.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokens/text/character_map.hpp"
#include "tokens/text/writing_step.hpp"

namespace tokfrag {

struct FormTables {
  // Full decompositions, but for those of Hangul, which are computed.
  std::vector<std::pair<std::uint32_t, std::string>> apart;
  // Combining classes that are not 0.
  std::vector<std::pair<std::uint32_t, std::uint8_t>> classes;
  // First, second and what they are together (Hangul aside). Empty, and not `composes`: NFD, NFKD.
  std::vector<std::vector<std::uint32_t>> pairs;
  bool composes = false;
};

class UnicodeForm : public WritingStep {
 public:
  explicit UnicodeForm(FormTables tables);

  Utf8 write(Utf8 text, bool first, std::string* out) const override;

 private:
  struct Mark {
    std::uint32_t point;
    std::uint8_t order;  // combining class
  };
  std::uint8_t order_of(std::uint32_t point) const;
  // The character of two; 0: there is none.
  std::uint32_t together(std::uint32_t first, std::uint32_t second) const;
  void normalize(const std::uint8_t* text, std::int64_t size, std::string* out) const;

  CharacterMap apart_;
  std::unordered_map<std::uint32_t, std::uint8_t> orders_;
  std::unordered_map<std::uint64_t, std::uint32_t> pairs_;
  PointSet turning_;  // characters that are written otherwise, or change with what is before them
  bool composes_;
};

}  // namespace tokfrag
