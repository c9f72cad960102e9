// The pre-tokenisation patterns known natively, as one table of rules.
//
// All of them share one shape: contractions, words, numbers, punctuation, white space, tried in
// that order. What differs between families is a row of the table below; the scalar scanner
// (advance.hpp), the vector one (scanner_kernel.cpp) and the twin (reference/scanning.py) read it.
#pragma once

#include <cstdint>
#include <string_view>

namespace tokfrag {

enum class PatternFamily : std::uint8_t {
  kGpt2,
  kCl100k,
  kO200k,
  kLlama3,
  kQwen2,
  kBlanks,  // these are no patterns of letters, but cut at blanks (blanks.hpp)
  kBlankRuns,
  kBlankLines,
};

// 's 't 're 've 'm 'll 'd: a piece of their own, or the end of the word before them.
enum class Contraction : std::uint8_t { kPiece, kSuffix };

struct PatternRules {
  Contraction contraction;
  bool contraction_any_case;  // (?i:...): also 'S, 'LL and U+017F for s
  bool words_by_case;         // \p{Lu}..\p{Ll}.. as in o200k; marks count as letters
  bool any_prefix;            // a word takes one [^\r\n\p{L}\p{N}] before it; else one ' '
  bool number_prefix;         // a number takes one ' ' before it
  std::uint8_t max_digits;    // 0: no limit
  bool newline_tail;          // punctuation takes the [\r\n]* after it
  bool slash_tail;            //   and '/' among them
  bool newline_piece;         // \s*[\r\n]+ is a piece
  bool trailing_space_first;  // \s+$ is tried before it
};

constexpr PatternRules kPatternRules[] = {
    // gpt2, r50k, p50k: '(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
    {Contraction::kPiece, false, false, false, true, 0, false, false, false, false},
    // cl100k: '(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
    //         |\s+$|\s*[\r\n]|\s+(?!\S)|\s
    {Contraction::kPiece, true, false, true, false, 3, true, false, true, true},
    // o200k:
    // [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|..)?
    //        |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|..)?
    //        |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
    {Contraction::kSuffix, true, true, true, false, 3, true, true, true, false},
    // llama3: (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}
    //         | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
    {Contraction::kPiece, true, false, true, false, 3, true, false, true, false},
    // qwen2: llama3's with \p{N} for \p{N}{1,3}
    {Contraction::kPiece, true, false, true, false, 1, true, false, true, false},
    // blanks: ' ?[^ ]+| '; blank runs: ' *[^ ]+| +'; blank lines: '\n+| *[^ \n]+| +'
    {Contraction::kPiece, false, false, false, false, 0, false, false, false, false},
    {Contraction::kPiece, false, false, false, false, 0, false, false, false, false},
    {Contraction::kPiece, false, false, false, false, 0, false, false, false, false},
};

constexpr const PatternRules& rules_of(PatternFamily family) {
  return kPatternRules[static_cast<int>(family)];
}

// Finds a family by name ("gpt2", "r50k", "p50k", "cl100k", "o200k", "llama3", "qwen2", "blanks",
// "blank_runs", "blank_lines"); false if there is none of that name.
bool find_pattern(std::string_view name, PatternFamily* family);

}  // namespace tokfrag
