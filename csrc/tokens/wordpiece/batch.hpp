// Many texts through BERT's tokenizer, on several threads, into one array.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/text/text_view.hpp"
#include "tokens/wordpiece/encoder.hpp"

namespace tokfrag {

// Where a batch's ids are, and how to gather them. Long texts are cut at spaces for the threads,
// short ones taken together; the result is the same for any number of threads.
class WordPieceBatch {
 public:
  WordPieceBatch(const WordPieceEncoder& encoder, const std::vector<TextView>& texts, int threads);

  // offsets()[i] to offsets()[i + 1]: the ids of text i.
  const std::vector<std::int64_t>& offsets() const { return offsets_; }
  void gather(std::uint32_t* ids) const;

 private:
  struct Block {
    std::int64_t first_part;
    std::int64_t end_part;
    TokenBuffer ids;
  };
  void cut(const std::vector<TextView>& texts);

  // Of each part of a text: where it is, which text it is of, and how many ids it has.
  std::vector<TextView> parts_;
  std::vector<std::int64_t> text_of_;
  std::vector<std::int64_t> id_counts_;
  std::vector<Block> blocks_;
  std::vector<std::int64_t> offsets_;
};

}  // namespace tokfrag
