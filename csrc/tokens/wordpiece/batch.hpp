// Many texts through BERT's tokenizer, on several threads, into one array.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/text/text_view.hpp"
#include "tokens/wordpiece/wordpiece.hpp"

namespace tokfrag {

// Where a batch's ids are, and how to gather them. Long texts are cut at spaces for the threads,
// short ones taken together; the result is the same for any number of threads.
class WordPieceBatch {
 public:
  WordPieceBatch(const WordPiece& model, const std::vector<TextView>& texts, int threads);

  // offsets()[i] to offsets()[i + 1]: the ids of text i.
  const std::vector<std::int64_t>& offsets() const { return offsets_; }
  void gather(std::uint32_t* ids) const;

 private:
  struct Part {
    std::int64_t text;
    TextView view;
    std::int64_t n_ids;
  };
  struct Block {
    std::int64_t first_part;
    std::int64_t end_part;
    std::vector<std::uint32_t> ids;
  };
  void cut(const std::vector<TextView>& texts);

  std::vector<Part> parts_;
  std::vector<Block> blocks_;
  std::vector<std::int64_t> offsets_;
};

}  // namespace tokfrag
