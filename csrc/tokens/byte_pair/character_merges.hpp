// Byte-pair merging that begins at characters (SentencePiece's BPE), by the merger that begins at
// bytes.
//
// The tables hold, before all else, merges that join the bytes of every character some token
// holds; so characters come first, and the tokens' own merges go on from them. What is left of a
// character that no token holds (bytes, and beginnings of characters) becomes the tokens of its
// bytes, where there are such, or the unknown token.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/byte_pair/word_model.hpp"

namespace tokfrag {

constexpr std::uint32_t kNoId = 0xFFFFFFFFu;

// What the symbols of the tables become.
struct CharacterIds {
  std::vector<std::uint32_t> ids;    // by symbol; kNoId: a part of a character, or one not known
  std::vector<std::uint32_t> bytes;  // by byte: the token that stands for it; kNoId: none does
  std::uint32_t unknown = kNoId;
  bool fuse_unknown = false;  // a run of unknown characters is one token
};

class CharacterMerges : public WordModel {
 public:
  // Throws std::invalid_argument if some character could become nothing.
  explicit CharacterMerges(CharacterIds ids);

  std::int64_t encode_word(const Encoder& encoder, const std::uint8_t* text, std::int64_t length,
                           bool part, Worker& worker, std::uint32_t* ids) const override;
  void encode_piece(const Encoder& encoder, const std::uint8_t* text, std::int64_t length,
                    Worker& worker, TokenBuffer* ids, std::vector<Span>* spans) const override;
  bool takes_parts() const override { return true; }
  bool cuts_pieces() const override { return !may_fuse_; }

 private:
  template <class Emit>
  bool resolve(const Encoder& encoder, const std::uint8_t* text, std::int64_t length,
               const std::uint32_t* symbols, Emit emit) const;

  CharacterIds ids_;
  bool may_fuse_;
};

}  // namespace tokfrag
