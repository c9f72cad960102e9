// Steps in which models write a text before they cut it: each makes a text of a text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tokens/text/character_map.hpp"
#include "tokens/text/charsmap.hpp"
#include "tokens/text/graphemes.hpp"
#include "tokens/text/text.hpp"

namespace tokfrag {

class WritingStep {
 public:
  virtual ~WritingStep() = default;
  // The text as the step writes it: the same, a part of it, or what it has put into `out`.
  // `first`: the text begins its document. Text is well-formed UTF-8.
  virtual Utf8 write(Utf8 text, bool first, std::string* out) const = 0;
};

using StepPointer = std::shared_ptr<const WritingStep>;

// Every `old` becomes `replacement`.
StepPointer replace_step(std::string old, std::string replacement);
// A run of blanks becomes one.
StepPointer squeeze_step();
// Two spaces and more, and a lone newline, carriage return or tab, become `replacement`; with
// `alone`, one space of any kind does.
StepPointer squeeze_spaces_step(std::string replacement, bool alone);
// A text that is not empty begins with `prefix`.
StepPointer prepend_step(std::string prefix);
// White space goes from the ends.
StepPointer strip_step(bool left, bool right);
// Every character by itself.
StepPointer map_step(std::shared_ptr<const CharacterMap> map);
// SentencePiece's map, grapheme by grapheme.
StepPointer charsmap_step(std::shared_ptr<const Charsmap> map,
                          std::shared_ptr<const GraphemeTable> graphemes);

// Metaspaces become blanks, and a text begins with one: always, where it begins its document, or
// never. With `words`, a text is cut at white space, which goes, and its words begin with one.
enum class Beginning { kAlways, kFirst, kNever };
StepPointer metaspace_step(Beginning beginning, bool words);

}  // namespace tokfrag
