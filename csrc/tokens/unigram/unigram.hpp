// Unigram segmentation: of all ways to cut a text into tokens, the one with the highest sum of
// scores.
//
// Formula: best[0] = 0; best[e] = max over tokens t = text[b, e) of best[b] + score(t); a character
// that is no token by itself may also be cut off at the unknown score. Of equals the one that
// begins first wins (its best[b] is known first). Sums run from the left and are rounded at each
// step, to float64 (Hugging Face) or to float32 (SentencePiece): where two ways are as good,
// rounding decides, so it is done as there.
//
// Cost: linear in the text, times the length of its longest tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokens/byte_pair/word_model.hpp"
#include "tokens/byte_pair/worker_pool.hpp"
#include "tokens/unigram/byte_trie.hpp"

namespace tokfrag {

struct UnigramOptions {
  std::uint32_t unknown;
  double unknown_score;
  bool single_precision;  // SentencePiece's sums
  // By byte, the token that stands for it (kNoId: none); empty: unknown characters are `unknown`.
  std::vector<std::uint32_t> bytes;
};

class Unigram : public WordModel {
 public:
  // Token i has ids[i] and scores[i]. Throws std::invalid_argument for an empty or repeated token.
  Unigram(const std::vector<std::string>& tokens, const std::vector<double>& scores,
          std::vector<std::uint32_t> ids, UnigramOptions options);

  std::int64_t encode_word(const Encoder& encoder, const std::uint8_t* text, std::int64_t length,
                           bool part, Worker& worker, std::uint32_t* ids) const override;
  void encode_piece(const Encoder& encoder, const std::uint8_t* text, std::int64_t length,
                    Worker& worker, TokenBuffer* ids, std::vector<Span>* spans) const override;
  bool takes_parts() const override { return takes_parts_; }
  bool cuts_pieces() const override { return false; }

 private:
  // A token of the best path, in the order of the text.
  struct Step {
    std::int64_t begin;
    std::int64_t end;
    std::uint32_t id;
    bool spelled;  // false: a character that is no token
  };

  template <bool kSingle>
  std::int64_t extend(const std::uint8_t* text, std::int64_t length, std::int64_t at,
                      PathNode* path) const;
  template <bool kSingle>
  void best_path(const std::uint8_t* text, std::int64_t length, Worker& worker, TokenBuffer* ids,
                 std::vector<Span>* spans) const;
  std::int64_t encode_part(const std::uint8_t* text, std::int64_t length, Worker& worker,
                           std::uint32_t* ids) const;
  std::vector<Step> steps_to(std::int64_t end, const PathNode* path) const;
  template <class Emit>
  void resolve(const std::uint8_t* text, const std::vector<Step>& steps, Emit emit) const;

  ByteTrie trie_;
  std::vector<std::uint32_t> ids_;
  UnigramOptions options_;
  std::int64_t longest_ = 4;  // token or character, in bytes
  bool takes_parts_;
};

}  // namespace tokfrag
