#include "tokens/wordpiece/batch.hpp"

#include <algorithm>
#include <cstring>

#include "core/interrupt.hpp"
#include "core/parallel.hpp"

namespace tokfrag {

namespace {
constexpr std::int64_t kBlock = std::int64_t{1} << 16;  // bytes of text
}

WordPieceBatch::WordPieceBatch(const WordPiece& model, const std::vector<TextView>& texts,
                               int threads) {
  cut(texts);
  parallel_for(static_cast<std::int64_t>(blocks_.size()), 1, threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   poll_interrupt();
                   Block& block = blocks_[static_cast<std::size_t>(i)];
                   for (std::int64_t j = block.first_part; j < block.end_part; ++j) {
                     Part& part = parts_[static_cast<std::size_t>(j)];
                     const std::size_t first = block.ids.size();
                     model.encode(part.view.data, part.view.size, &block.ids, nullptr);
                     part.n_ids = static_cast<std::int64_t>(block.ids.size() - first);
                   }
                 }
               });
  offsets_.assign(texts.size() + 1, 0);
  for (const Part& part : parts_) offsets_[static_cast<std::size_t>(part.text) + 1] += part.n_ids;
  for (std::size_t i = 0; i < texts.size(); ++i) offsets_[i + 1] += offsets_[i];
}

void WordPieceBatch::cut(const std::vector<TextView>& texts) {
  std::int64_t bytes = kBlock;
  const auto add = [&](std::int64_t text, TextView view) {
    if (bytes >= kBlock) {
      const auto at = static_cast<std::int64_t>(parts_.size());
      blocks_.push_back({at, at, {}});
      bytes = 0;
    }
    parts_.push_back({text, view, 0});
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
    if (block.ids.empty()) continue;
    std::memcpy(ids, block.ids.data(), block.ids.size() * sizeof *ids);
    ids += block.ids.size();
  }
}

}  // namespace tokfrag
