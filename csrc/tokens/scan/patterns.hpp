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
  kTekken,
  kQwen35,
  kStarcoder,
  kKimi,
  kDeepseek3,
  kFalcon,
  kClip,
  kWhitespace,
  kBert,
  kBlanks,  // these are no patterns of letters, but cut at blanks (blanks.hpp)
  kBlankRuns,
  kBlankLines,
};

// How many of them are patterns of letters: the first.
constexpr int kLetterFamilies = static_cast<int>(PatternFamily::kBlanks);

// 's 't 're 've 'm 'll 'd: a piece of their own, the end of the word before them, or nothing.
enum class Contraction : std::uint8_t { kPiece, kSuffix, kNone };

// Characters whose runs are pieces, whatever stands beside them.
enum class Apart : std::uint8_t {
  kNothing,
  kHan,          // \p{Han}; those that are no letters may end numbers or punctuation too
  kChinese,      // [\u4E00-\u9FA5\u3040-\u30FF], cut off before all but numbers; then the pattern
  kPunctuation,  // Hugging Face's Punctuation, cut off first
  kWords,        // \w
};

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
  bool marks_are_letters = false;
  bool numbers_first = false;  // numbers are cut off first: before one, white space ends as a text
  Apart apart = Apart::kNothing;
  // A word takes one character before it that is no letter, number, punctuation, symbol or newline,
  // and one of ASCII letters one of ASCII punctuation; controls elsewhere are pieces.
  bool punctuation_before_ascii = false;
  // Pieces are cut where GPT-2's signs for bytes turn to numbers (0-9, B2, B3, B9, BC-BE) or from
  // them, and three ASCII digits are a piece.
  bool numeric_bytes = false;
  bool blank_prefix = true;   // words and punctuation take a ' ' before them
  bool space_alone = false;   // nothing is told apart but white space and what is set apart
  bool apart_single = false;  // each of these is a piece

  // White space before a character that is cut off first ends as a text does.
  constexpr bool apart_ends_space() const {
    return apart != Apart::kNothing && apart != Apart::kHan;
  }
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
    // tekken: o200k's without contractions, with \p{N} for \p{N}{1,3}
    {Contraction::kNone, false, true, true, false, 1, true, true, true, false},
    // qwen35: qwen2's with [\p{L}\p{M}]+ for \p{L}+ and no \p{M} in punctuation
    {Contraction::kPiece, true, false, true, false, 1, true, false, true, false, true},
    // starcoder: every \p{N} cut off, then gpt2's. A number is cut off wherever it stands and
    // gpt2's
    // looks at nothing before a place, so that one pass tells it, but for white space, whose
    // \s+(?!\S) sees the end of the text where the number was.
    {Contraction::kPiece, false, false, false, false, 1, false, false, false, false, false, true},
    // kimi: \p{Han}+, or o200k's without \p{Han} in its words and without '/' in its tails
    {Contraction::kSuffix, true, true, true, false, 3, true, false, true, false, false, false,
     Apart::kHan},
    // deepseek3: \p{N}{1,3} cut off, then [\u4E00-\u9FA5\u3040-\u30FF]+, then the matches of
    // [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*
    // |\s*[\r\n]+|\s+(?!\S)|\s+ and what is between them. One pass for the same reason.
    {Contraction::kNone, false, false, true, false, 3, true, false, true, false, true, true,
     Apart::kChinese, true},
    // falcon: Hugging Face's Punctuation, runs cut off, then gpt2's; in GPT-2's signs for the bytes
    // of what this gives, runs of numbers are cut off, and in these [0-9]{3}
    {Contraction::kNone, false, false, false, true, 0, false, false, false, false, false, false,
     Apart::kPunctuation, false, true},
    // clip: 's|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+, white space between them
    {Contraction::kPiece, false, false, false, false, 1, false, false, false, false, false, false,
     Apart::kNothing, false, false, false},
    // whitespace: \w+|[^\w\s]+, white space between them
    {Contraction::kNone, false, false, false, false, 0, false, false, false, false, false, false,
     Apart::kWords, false, false, false, true},
    // bert: each of Hugging Face's Punctuation, or what white space and these are between
    {Contraction::kNone, false, false, false, false, 0, false, false, false, false, false, false,
     Apart::kPunctuation, false, false, false, true, true},
    // blanks: ' ?[^ ]+| '; blank runs: ' *[^ ]+| +'; blank lines: '\n+| *[^ \n]+| +'
    {Contraction::kPiece, false, false, false, false, 0, false, false, false, false},
    {Contraction::kPiece, false, false, false, false, 0, false, false, false, false},
    {Contraction::kPiece, false, false, false, false, 0, false, false, false, false},
};

constexpr const PatternRules& rules_of(PatternFamily family) {
  return kPatternRules[static_cast<int>(family)];
}

// Finds a family by name ("gpt2", "r50k", "p50k", "cl100k", "o200k", "llama3", "qwen2", "tekken",
// "qwen35", "starcoder", "kimi", "deepseek3", "falcon", "clip", "whitespace", "bert", "blanks",
// "blank_runs", "blank_lines"); false if there is none of that name.
bool find_pattern(std::string_view name, PatternFamily* family);

}  // namespace tokfrag
