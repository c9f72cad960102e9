// Where graphemes end (UAX 29, extended grapheme clusters), by a table of classes.
#pragma once

#include <cstdint>
#include <string>

namespace tokfrag {

// What a character is to its neighbours: Grapheme_Cluster_Break, in this order; the high bits are
// properties beside it.
enum GraphemeClass : std::uint8_t {
  kGraphemeOther,
  kGraphemeCr,
  kGraphemeLf,
  kGraphemeControl,
  kGraphemeExtend,
  kGraphemeZwj,
  kGraphemeRegional,
  kGraphemePrepend,
  kGraphemeSpacing,
  kGraphemeL,
  kGraphemeV,
  kGraphemeT,
  kGraphemeLv,
  kGraphemeLvt,
  kGraphemeBreak = 0x0F,       // the bits of the above
  kGraphemePictograph = 0x10,  // Extended_Pictographic
  kGraphemeConsonant = 0x20,   // Indic_Conjunct_Break
  kGraphemeLinker = 0x40,
  kGraphemeBound = 0x80,  // Indic_Conjunct_Break=Extend
};

class GraphemeTable {
 public:
  // Throws std::invalid_argument if there are not 0x110000 bytes, a class each.
  explicit GraphemeTable(std::string classes);

  std::uint8_t of(std::uint32_t point) const { return static_cast<std::uint8_t>(classes_[point]); }
  // Whether a character stands alone beside others of which this is true.
  bool alone(std::uint32_t point) const {
    const std::uint8_t kind = of(point);
    return (kind & kGraphemeBreak) == kGraphemeOther;
  }
  // The end of the grapheme that begins at text[at].
  std::int64_t end(const std::uint8_t* text, std::int64_t size, std::int64_t at) const;

 private:
  std::string classes_;
};

}  // namespace tokfrag
