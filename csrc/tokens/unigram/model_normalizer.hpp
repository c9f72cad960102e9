// How a sentencepiece model writes a text before it cuts it: characters mapped, blanks cleaned, one
// blank in front. A blank stands for the metaspace U+2581 here and in the vocabularies.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tokens/text/charsmap.hpp"
#include "tokens/text/writing_step.hpp"
#include "tokens/unigram/byte_trie.hpp"

namespace tokfrag {

struct NormalizerOptions {
  bool add_dummy_prefix;
  bool remove_extra_whitespaces;
};

class ModelNormalizer : public WritingStep {
 public:
  // An empty blob maps nothing. Symbols the user defined are left as they are.
  ModelNormalizer(const std::string& charsmap, const std::vector<std::string>& user_defined,
                  NormalizerOptions options);

  // Writes to `result`. `sources`, if asked for, becomes for each byte of the result, and its end,
  // the place in the text that it comes from.
  void operator()(const std::uint8_t* text, std::int64_t size, std::string* result,
                  std::vector<std::int64_t>* sources) const;

  Utf8 write(Utf8 text, bool first, std::string* out) const override;

 private:
  struct Prefix {
    const char* text;
    std::size_t length;
    std::int64_t consumed;
  };
  // ASCII that is no blank and no key: it stays as it is, if more ASCII follows.
  bool is_plain(std::uint8_t byte) const {
    return byte != ' ' && (charsmap_ != nullptr ? charsmap_->keeps(byte) : byte < 0x80);
  }
  Prefix prefix_of(const std::uint8_t* text, std::int64_t size) const;

  std::unique_ptr<const Charsmap> charsmap_;
  std::unique_ptr<const ByteTrie> user_defined_;
  NormalizerOptions options_;
  bool has_runs_;  // of characters that need no look
};

}  // namespace tokfrag
