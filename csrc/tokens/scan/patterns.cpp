#include "tokens/scan/patterns.hpp"

namespace tokfrag {

bool find_pattern(std::string_view name, PatternFamily* family) {
  struct Named {
    std::string_view name;
    PatternFamily family;
  };
  constexpr Named kNames[] = {
      {"gpt2", PatternFamily::kGpt2},
      {"r50k", PatternFamily::kGpt2},
      {"p50k", PatternFamily::kGpt2},
      {"cl100k", PatternFamily::kCl100k},
      {"o200k", PatternFamily::kO200k},
      {"llama3", PatternFamily::kLlama3},
      {"qwen2", PatternFamily::kQwen2},
      {"tekken", PatternFamily::kTekken},
      {"qwen35", PatternFamily::kQwen35},
      {"starcoder", PatternFamily::kStarcoder},
      {"kimi", PatternFamily::kKimi},
      {"deepseek3", PatternFamily::kDeepseek3},
      {"falcon", PatternFamily::kFalcon},
      {"clip", PatternFamily::kClip},
      {"whitespace", PatternFamily::kWhitespace},
      {"bert", PatternFamily::kBert},
      {"blanks", PatternFamily::kBlanks},
      {"blank_runs", PatternFamily::kBlankRuns},
      {"blank_lines", PatternFamily::kBlankLines},
  };
  for (const Named& entry : kNames) {
    if (entry.name == name) {
      *family = entry.family;
      return true;
    }
  }
  return false;
}

}  // namespace tokfrag
