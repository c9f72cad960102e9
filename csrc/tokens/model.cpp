#include "tokens/model.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/parallel.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kBlockBytes = 1 << 16;  // of texts that one thread takes at a time

// Cuts texts into blocks of about kBlockBytes: block i is texts [blocks[i], blocks[i + 1]).
std::vector<std::int64_t> blocks_of(const std::vector<Text>& texts) {
  std::vector<std::int64_t> blocks{0};
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    bytes += utf8_bound(texts[i]) + 16;
    if (bytes >= kBlockBytes) {
      blocks.push_back(static_cast<std::int64_t>(i) + 1);
      bytes = 0;
    }
  }
  const auto count = static_cast<std::int64_t>(texts.size());
  if (blocks.back() != count) blocks.push_back(count);
  return blocks;
}

}  // namespace

Model::Model(Vocabulary vocabulary, PairTable pairs, bool whole_pieces,
             std::optional<PatternFamily> family, std::vector<SpecialTokens::Token> special)
    : encoder_(std::move(vocabulary), std::move(pairs), whole_pieces, family),
      special_(std::move(special)),
      decoder_(encoder_.vocabulary()) {
  for (const auto& token : special_.tokens()) decoder_.add(token.id, token.text);
}

void Model::encode(Utf8 text, AllowedSpecial allowed, Worker& worker, TokenBuffer* out,
                   std::int64_t limit) const {
  std::int64_t from = 0;
  while (allowed.any && out->size() < limit) {
    const auto match = special_.find(text.data, text.size, from, allowed.flags);
    if (match.token < 0) break;
    encoder_.encode(Stretch{text.data + from, match.begin - from}, worker, out, limit);
    if (out->size() >= limit) return;
    out->push(special_.tokens()[static_cast<std::size_t>(match.token)].id);
    from = match.end;
  }
  if (out->size() < limit) {
    encoder_.encode(Stretch{text.data + from, text.size - from}, worker, out, limit);
  }
}

std::int64_t Model::count(Utf8 text, Worker& worker) const {
  return encoder_.count(Stretch{text.data, text.size}, worker);
}

TokenBuffer Model::encode_batch(const std::vector<Text>& texts, AllowedSpecial allowed,
                                int threads, std::int64_t* offsets) const {
  const std::vector<std::int64_t> blocks = blocks_of(texts);
  const auto block_count = static_cast<std::int64_t>(blocks.size()) - 1;
  std::vector<TokenBuffer> parts(static_cast<std::size_t>(block_count));
  offsets[0] = 0;
  parallel_for(block_count, 1, threads, [&](std::int64_t begin, std::int64_t end, int) {
    const WorkerPool::Lease worker = encoder_.workers().acquire();
    for (std::int64_t block = begin; block < end; ++block) {
      TokenBuffer& ids = parts[static_cast<std::size_t>(block)];
      const std::int64_t last = blocks[static_cast<std::size_t>(block) + 1];
      for (std::int64_t i = blocks[static_cast<std::size_t>(block)]; i < last; ++i) {
        const std::int64_t before = ids.size();
        const Utf8 text = to_utf8(texts[static_cast<std::size_t>(i)], &worker->text);
        encode(text, allowed, *worker, &ids);
        offsets[i + 1] = ids.size() - before;
      }
    }
  });
  for (std::size_t i = 0; i < texts.size(); ++i) offsets[i + 1] += offsets[i];
  if (block_count == 1) return std::move(parts[0]);
  TokenBuffer all;
  all.reserve_more(offsets[texts.size()]);
  for (std::int64_t block = 0; block < block_count; ++block) {
    TokenBuffer& part = parts[static_cast<std::size_t>(block)];
    if (part.size() == 0) continue;
    const std::int64_t place = offsets[blocks[static_cast<std::size_t>(block)]];
    std::memcpy(all.data() + place, part.data(),
                static_cast<std::size_t>(part.size()) * sizeof(std::uint32_t));
    part = TokenBuffer();
  }
  all.set_size(offsets[texts.size()]);
  return all;
}

void Model::count_batch(const std::vector<Text>& texts, int threads, std::int64_t* counts) const {
  const std::vector<std::int64_t> blocks = blocks_of(texts);
  const auto block_count = static_cast<std::int64_t>(blocks.size()) - 1;
  parallel_for(block_count, 1, threads, [&](std::int64_t begin, std::int64_t end, int) {
    const WorkerPool::Lease worker = encoder_.workers().acquire();
    const std::int64_t last = blocks[static_cast<std::size_t>(end)];
    for (std::int64_t i = blocks[static_cast<std::size_t>(begin)]; i < last; ++i) {
      counts[i] = count(to_utf8(texts[static_cast<std::size_t>(i)], &worker->text), *worker);
    }
  });
}

}  // namespace tokfrag
