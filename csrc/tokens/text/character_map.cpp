#include "tokens/text/character_map.hpp"

#include <stdexcept>

namespace tokfrag {

CharacterMap::CharacterMap(std::vector<std::pair<std::uint32_t, std::string>> rules)
    : rules_(std::move(rules)), pages_(0x110000 >> 8), places_(256) {
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const std::uint32_t point = rules_[i].first;
    if (point >= 0x110000) throw std::invalid_argument("rules: takes points up to U+10FFFF");
    std::uint16_t& page = pages_[point >> 8];
    if (page == 0) {
      page = static_cast<std::uint16_t>(places_.size() >> 8);
      places_.resize(places_.size() + 256);
    }
    places_[std::size_t{page} << 8 | (point & 0xFF)] = static_cast<std::uint32_t>(i + 1);
  }
  for (std::uint32_t byte = 0; byte < 0x80; ++byte) {
    if (find(byte) == nullptr) kept_.add(static_cast<std::uint8_t>(byte));
  }
}

}  // namespace tokfrag
