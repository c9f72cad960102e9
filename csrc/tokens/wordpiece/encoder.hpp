// BERT's tokenizer with a memory: pieces of text that came before are looked up by their bytes as
// they stand, before any cleaning, folding or matching.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/byte_pair/worker_pool.hpp"
#include "tokens/text/text_view.hpp"
#include "tokens/wordpiece/piece_ends.hpp"
#include "tokens/wordpiece/wordpiece.hpp"

namespace tokfrag {

class WordPieceEncoder {
 public:
  explicit WordPieceEncoder(WordPiece model);

  const WordPiece& model() const { return model_; }
  WorkerPool& workers() const { return workers_; }

  // Appends the ids of a text in UTF-8: those of the model.
  void encode(TextView text, Worker& worker, TokenBuffer* out) const;
  // The same for many texts; writes how many ids each has.
  void encode_rows(const TextView* rows, std::int64_t count, Worker& worker, TokenBuffer* out,
                   std::int64_t* id_counts) const;

 private:
  // Texts that stand in one, parted by a space each: where each of them ends in it.
  struct Joined {
    TextView text;
    const std::int64_t* row_ends;
    std::int64_t rows;
  };

  void run(const Joined& joined, Worker& worker, TokenBuffer* out, std::int64_t* id_counts) const;
  void encode_directly(TextView text, TokenBuffer* out) const;
  void encode_new(const WordRun& pieces, int i, Worker& worker,
                  std::vector<std::uint32_t>* ids) const;

  WordPiece model_;
  PieceSets sets_;
  mutable WorkerPool workers_;
};

}  // namespace tokfrag
