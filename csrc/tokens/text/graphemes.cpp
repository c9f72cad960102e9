#include "tokens/text/graphemes.hpp"

#include <stdexcept>
#include <utility>

#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

// What a grapheme has been so far, as far as the next character minds it.
struct Begun {
  std::uint8_t last;        // class of its last character
  bool pictograph = false;  // a pictograph and marks, or that and a joiner
  bool conjunct = false;    // a consonant and what binds
  bool linked = false;      //   among it a linker
  bool odd_regional = false;

  explicit Begun(std::uint8_t first)
      : last(first),
        pictograph((first & kGraphemePictograph) != 0),
        conjunct((first & kGraphemeConsonant) != 0),
        odd_regional((first & kGraphemeBreak) == kGraphemeRegional) {}

  bool joins(std::uint8_t next) const;
  void take(std::uint8_t next);
};

bool Begun::joins(std::uint8_t next) const {
  const int before = last & kGraphemeBreak;
  const int after = next & kGraphemeBreak;
  if (before == kGraphemeCr) return after == kGraphemeLf;                 // GB3
  if (before == kGraphemeLf || before == kGraphemeControl) return false;  // GB4
  if (after >= kGraphemeCr && after <= kGraphemeControl) return false;    // GB5
  if (before == kGraphemeL) {                                             // GB6
    if (after == kGraphemeL || after == kGraphemeV || after == kGraphemeLv ||
        after == kGraphemeLvt) {
      return true;
    }
  }
  if (before == kGraphemeLv || before == kGraphemeV) {  // GB7
    if (after == kGraphemeV || after == kGraphemeT) return true;
  }
  if (before == kGraphemeLvt || before == kGraphemeT) {  // GB8
    if (after == kGraphemeT) return true;
  }
  if (after == kGraphemeExtend || after == kGraphemeZwj) return true;       // GB9
  if (after == kGraphemeSpacing) return true;                               // GB9a
  if (before == kGraphemePrepend) return true;                              // GB9b
  if (conjunct && linked && (next & kGraphemeConsonant) != 0) return true;  // GB9c
  if (pictograph && before == kGraphemeZwj && (next & kGraphemePictograph) != 0) return true;
  return odd_regional && after == kGraphemeRegional;  // GB12
}

void Begun::take(std::uint8_t next) {
  const int kind = next & kGraphemeBreak;
  if ((next & kGraphemePictograph) != 0) {
    pictograph = true;
  } else if (kind != kGraphemeExtend &&
             !(kind == kGraphemeZwj && (last & kGraphemeBreak) != kGraphemeZwj)) {
    pictograph = false;
  } else if ((last & kGraphemeBreak) == kGraphemeZwj) {
    pictograph = false;
  }
  if ((next & kGraphemeConsonant) != 0) {
    conjunct = true;
    linked = false;
  } else if ((next & kGraphemeLinker) != 0) {
    linked = conjunct;
  } else if ((next & kGraphemeBound) == 0) {
    conjunct = linked = false;
  }
  odd_regional = kind == kGraphemeRegional && !odd_regional;
  last = next;
}

}  // namespace

GraphemeTable::GraphemeTable(std::string classes) : classes_(std::move(classes)) {
  if (classes_.size() != 0x110000) throw std::invalid_argument("classes: takes 0x110000 bytes");
}

std::int64_t GraphemeTable::end(const std::uint8_t* text, std::int64_t size,
                                std::int64_t at) const {
  const CodePoint first = decode_utf8(text, size, at);
  at += first.length;
  Begun begun(of(first.value));
  while (at < size) {
    const CodePoint next = decode_utf8(text, size, at);
    const std::uint8_t kind = of(next.value);
    if (!begun.joins(kind)) break;
    begun.take(kind);
    at += next.length;
  }
  return at;
}

}  // namespace tokfrag
