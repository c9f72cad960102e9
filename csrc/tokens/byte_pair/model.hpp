// A tokenizer: encoder, special tokens and decoder, and texts encoded one by one or many at once.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tokens/byte_pair/decoder.hpp"
#include "tokens/byte_pair/encoder.hpp"
#include "tokens/text/special_tokens.hpp"
#include "tokens/text/text.hpp"

namespace tokfrag {

// Which special tokens text may stand for: none, or all, or those with a byte that is not 0.
struct AllowedSpecial {
  bool any = false;
  const std::uint8_t* flags = nullptr;
};

class Model {
 public:
  Model(Tables tables, bool whole_pieces, std::optional<PatternFamily> family,
        std::vector<SpecialTokens::Token> special);
  // Words are encoded by `words`, whose ids are not those of the tables: it does not decode.
  Model(Tables tables, std::optional<PatternFamily> family, std::unique_ptr<const WordModel> words,
        std::vector<SpecialTokens::Token> special);

  const Encoder& encoder() const { return encoder_; }
  const SpecialTokens& special() const { return special_; }
  const Decoder& decoder() const { return decoder_; }

  // Appends the ids of UTF-8 text to `out`; may stop early once `out` holds `limit`.
  void encode(Utf8 text, AllowedSpecial allowed, Worker& worker, TokenBuffer* out,
              std::int64_t limit = INT64_MAX) const;
  std::int64_t count(Utf8 text, Worker& worker) const;

  // The same for one text, which is cut and shared out between threads (0: default) if it is long.
  TokenBuffer encode_long(Utf8 text, AllowedSpecial allowed, int threads) const;
  std::int64_t count_long(Utf8 text, int threads) const;
  static constexpr std::int64_t kLong = 1 << 19;  // bytes from which that is worth while

  // Encodes many texts on `threads` threads (0: default): text i has the ids from offsets[i] to
  // offsets[i + 1], which this writes (offsets has one more than there are texts).
  TokenBuffer encode_batch(const std::vector<Text>& texts, AllowedSpecial allowed, int threads,
                           std::int64_t* offsets) const;
  // Writes how many ids each text has.
  void count_batch(const std::vector<Text>& texts, int threads, std::int64_t* counts) const;

 private:
  // A part of a long text, and the special token behind it; -1: none.
  struct Share {
    Stretch stretch;
    std::int64_t token;
  };
  std::vector<Share> share_out(Utf8 text, AllowedSpecial allowed) const;
  void encode_rows(const Text* texts, std::int64_t count, Worker& worker, TokenBuffer* out,
                   std::int64_t* counts) const;

  Encoder encoder_;
  SpecialTokens special_;
  Decoder decoder_;
};

}  // namespace tokfrag
