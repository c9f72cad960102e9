// Text to ids: pieces, words looked up in the cache, the rest merged.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "tokens/byte_pair/merge.hpp"
#include "tokens/byte_pair/tables.hpp"
#include "tokens/byte_pair/token_buffer.hpp"
#include "tokens/byte_pair/word_lookup.hpp"
#include "tokens/byte_pair/word_model.hpp"
#include "tokens/byte_pair/worker_pool.hpp"
#include "tokens/scan/patterns.hpp"
#include "tokens/scan/scanner.hpp"

namespace tokfrag {

// A stretch of text to encode by itself. A stretch cut out of a longer text may begin or end inside
// a piece, but only where no token can span the cut.
struct Stretch {
  const std::uint8_t* text;
  std::int64_t size;
  bool begins_inside = false;
  bool ends_inside = false;
};

class Encoder {
 public:
  // whole_pieces: a piece that is a token is that token, whatever merging would make of it
  // (tiktoken; "ignore_merges" elsewhere). Without a family, text is one piece.
  Encoder(Tables tables, bool whole_pieces, std::optional<PatternFamily> family);
  // Words are encoded by `words`; the tables say where pieces can be cut.
  Encoder(Tables tables, std::optional<PatternFamily> family,
          std::unique_ptr<const WordModel> words);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  const PairTable& pairs() const { return pairs_; }
  const JoinFilter& joins() const { return joins_; }
  WorkerPool& workers() const { return workers_; }
  std::optional<PatternFamily> family() const { return family_; }
  bool whole_pieces() const { return whole_pieces_; }
  const WordModel* words() const { return words_.get(); }

  // Appends the ids of a stretch to `out`. May stop early, at a piece, once `out` holds `limit`.
  void encode(const Stretch& stretch, Worker& worker, TokenBuffer* out,
              std::int64_t limit = INT64_MAX) const;
  // The same for many short texts, none of which sees its neighbours: row i ends at row_ends[i],
  // with a newline behind it, which is no part of it, and the next row behind that. counts[i] is
  // how many ids it has. Words of many rows are looked up together, so that a row costs little
  // more than its bytes.
  void encode_rows(const std::uint8_t* text, const std::int64_t* row_ends, std::int64_t rows,
                   Worker& worker, TokenBuffer* out, std::int64_t* counts) const;
  bool takes_rows() const { return family_ && words_ == nullptr; }
  // The same for text already cut into pieces: piece i is text[ends[i - 1], ends[i]).
  void encode_pieces(const std::uint8_t* text, const std::int64_t* ends, std::int64_t count,
                     Worker& worker, TokenBuffer* out) const;
  // How many ids a stretch has.
  std::int64_t count(const Stretch& stretch, Worker& worker) const;
  // Appends the ids of a text that `words` encodes and what each covers, in bytes of it.
  void encode_spans(const Stretch& stretch, Worker& worker, TokenBuffer* out,
                    std::vector<Span>* spans) const;

 private:
  template <class Pieces>
  std::int64_t run(Pieces pieces, const Stretch& stretch, Worker& worker, TokenBuffer* out,
                   bool keep, std::int64_t limit) const;
  bool run_words(const WordRun& words, int from, int count, std::uint64_t unit, bool cut,
                 Worker& worker, std::uint32_t** cursor) const;
  bool encode_piece(const WordRun& words, int i, std::uint64_t unit, Worker& worker,
                    std::uint32_t** cursor) const;
  bool encode_new_piece(const std::uint8_t* text, std::int64_t length, std::uint64_t unit,
                        Worker& worker, std::uint32_t** cursor) const;
  bool encode_units(const std::uint8_t* text, std::int64_t length, Worker& worker,
                    std::uint32_t** cursor) const;
  static bool is_new(const WordRun& words, const PackedWord* packed, int i, std::uint64_t unit,
                     Worker& worker);
  void learn_words(const WordRun& words, const PackedWord* packed, int from, int count,
                   std::uint64_t unit, Worker& worker) const;
  bool cuts(const std::uint8_t* text, std::int64_t length, std::uint64_t unit) const;
  bool run_parts(const std::uint8_t* text, std::int64_t length, Worker& worker,
                 TokenBuffer* out) const;
  void run_pieces(const Stretch& stretch, Worker& worker, TokenBuffer* out,
                  std::vector<Span>* spans) const;
  std::int64_t encode_word(const std::uint8_t* bytes, std::int64_t length, std::uint64_t unit,
                           Worker& worker, std::uint32_t* ids) const;

  static constexpr int kChunk = 512;  // pieces that are looked up together

  Vocabulary vocabulary_;
  PairTable pairs_;
  JoinFilter joins_;
  bool whole_pieces_;
  std::optional<PatternFamily> family_;
  std::unique_ptr<const WordModel> words_;  // null: words merge from their bytes
  mutable WorkerPool workers_;
};

}  // namespace tokfrag
