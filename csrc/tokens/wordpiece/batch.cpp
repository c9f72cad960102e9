#include "tokens/wordpiece/batch.hpp"

#include <algorithm>
#include <cstring>

#include "core/interrupt.hpp"
#include "core/parallel.hpp"

namespace tokfrag {

namespace {
constexpr std::int64_t kBlock = std::int64_t{1} << 16;  // bytes of text
}

WordPieceBatch::WordPieceBatch(const WordPieceEncoder& encoder, const std::vector<TextView>& texts,
                               int threads) {
  cut(texts);
  id_counts_.resize(parts_.size());
  parallel_for(static_cast<std::int64_t>(blocks_.size()), 1, threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 const WorkerPool::Lease worker = encoder.workers().acquire();
                 for (std::int64_t i = begin; i < end; ++i) {
                   poll_interrupt();
                   Block& block = blocks_[static_cast<std::size_t>(i)];
                   encoder.encode_rows(parts_.data() + block.first_part,
                                       block.end_part - block.first_part, *worker, &block.ids,
                                       id_counts_.data() + block.first_part);
                 }
               });
  offsets_.assign(texts.size() + 1, 0);
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    offsets_[static_cast<std::size_t>(text_of_[i]) + 1] += id_counts_[i];
  }
  for (std::size_t i = 0; i < texts.size(); ++i) offsets_[i + 1] += offsets_[i];
}

void WordPieceBatch::cut(const std::vector<TextView>& texts) {
  std::int64_t bytes = kBlock;
  const auto add = [&](std::int64_t text, TextView view) {
    if (bytes >= kBlock) {
      const auto at = static_cast<std::int64_t>(parts_.size());
      blocks_.push_back({at, at, TokenBuffer()});
      bytes = 0;
    }
    parts_.push_back(view);
    text_of_.push_back(text);
    blocks_.back().end_part = static_cast<std::int64_t>(parts_.size());
    bytes += view.size + 1;
  };
  for (std::size_t i = 0; i < texts.size(); ++i) {
    TextView rest = texts[i];
    while (rest.size > 2 * kBlock) {
      const void* space =
          std::memchr(rest.data + kBlock, ' ', static_cast<std::size_t>(rest.size - kBlock));
      if (space == nullptr) break;
      const std::int64_t length = static_cast<const std::uint8_t*>(space) - rest.data;
      add(static_cast<std::int64_t>(i), {rest.data, length});
      rest = {rest.data + length, rest.size - length};
    }
    add(static_cast<std::int64_t>(i), rest);
  }
}

void WordPieceBatch::gather(std::uint32_t* ids) const {
  for (const Block& block : blocks_) {
    if (block.ids.size() == 0) continue;
    std::memcpy(ids, block.ids.data(), static_cast<std::size_t>(block.ids.size()) * sizeof *ids);
    ids += block.ids.size();
  }
}

}  // namespace tokfrag
