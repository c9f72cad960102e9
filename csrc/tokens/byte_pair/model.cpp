#include "tokens/byte_pair/model.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/parallel.hpp"
#include "tokens/byte_pair/cutting.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kBlockBytes = 1 << 16;    // of texts that one thread takes at a time
constexpr std::int64_t kStretchBytes = 1 << 17;  // of one long text

// Texts [begin, end) of a batch; a long text is a block by itself.
struct Block {
  std::int64_t begin;
  std::int64_t end;
  bool is_long;
};

std::vector<Block> blocks_of(const std::vector<Text>& texts) {
  std::vector<Block> blocks;
  Block open{0, 0, false};
  std::int64_t bytes = 0;
  const auto close = [&](std::int64_t at) {
    open.end = at;
    if (open.end > open.begin) blocks.push_back(open);
    open = {at, at, false};
    bytes = 0;
  };
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const std::int64_t size = utf8_bound(texts[i]);
    if (size >= Model::kLong) {
      close(at);
      open.is_long = true;
      close(at + 1);
      continue;
    }
    bytes += size + 16;
    if (bytes >= kBlockBytes) close(at + 1);
  }
  close(static_cast<std::int64_t>(texts.size()));
  return blocks;
}

// One array of many, each freed as soon as it is copied.
TokenBuffer join(std::vector<TokenBuffer> parts, int threads) {
  if (parts.size() == 1) return std::move(parts[0]);
  std::vector<std::int64_t> begins(parts.size() + 1, 0);
  for (std::size_t i = 0; i < parts.size(); ++i) begins[i + 1] = begins[i] + parts[i].size();
  TokenBuffer all;
  all.reserve_more(begins.back());
  constexpr std::int64_t kGrainParts = 2;  // of some hundred kilobytes, most of it page faults
  parallel_for(static_cast<std::int64_t>(parts.size()), kGrainParts, threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end);
                      ++i) {
                   if (parts[i].size() > 0) {
                     std::memcpy(all.data() + begins[i], parts[i].data(),
                                 static_cast<std::size_t>(parts[i].size()) * sizeof(std::uint32_t));
                   }
                   parts[i] = TokenBuffer();
                 }
               });
  all.set_size(begins.back());
  return all;
}

}  // namespace

Model::Model(Tables tables, bool whole_pieces, std::optional<PatternFamily> family,
             std::vector<SpecialTokens::Token> special)
    : encoder_(std::move(tables), whole_pieces, family),
      special_(std::move(special)),
      decoder_(encoder_.vocabulary()) {
  for (const auto& token : special_.tokens()) decoder_.add(token.id, token.text);
}

Model::Model(Tables tables, std::optional<PatternFamily> family,
             std::unique_ptr<const WordModel> words, std::vector<SpecialTokens::Token> special)
    : encoder_(std::move(tables), family, std::move(words)),
      special_(std::move(special)),
      decoder_(Vocabulary()) {}

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

// A long text as stretches that can be encoded side by side; behind each, a special token or none.
std::vector<Model::Share> Model::share_out(Utf8 text, AllowedSpecial allowed) const {
  std::vector<Share> shares;
  const auto cut = [&](std::int64_t from, std::int64_t to, std::int64_t token) {
    for (const Stretch& stretch : cut_text(encoder_, text.data + from, to - from, kStretchBytes)) {
      shares.push_back({stretch, -1});
    }
    shares.back().token = token;
  };
  std::int64_t from = 0;
  while (allowed.any) {
    const auto match = special_.find(text.data, text.size, from, allowed.flags);
    if (match.token < 0) break;
    cut(from, match.begin, match.token);
    from = match.end;
  }
  cut(from, text.size, -1);
  return shares;
}

TokenBuffer Model::encode_long(Utf8 text, AllowedSpecial allowed, int threads) const {
  if (threads == 0) threads = default_threads();
  std::vector<Share> shares;
  if (threads > 1 && text.size >= kLong) shares = share_out(text, allowed);
  if (shares.size() < 2) {
    TokenBuffer ids;
    const WorkerPool::Lease worker = encoder_.workers().acquire();
    encode(text, allowed, *worker, &ids);
    return ids;
  }
  // As many shares as make up a stretch are a part: special tokens may stand close together.
  std::vector<std::size_t> begins{0};
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    bytes += shares[i].stretch.size;
    if (bytes < kStretchBytes && i + 1 < shares.size()) continue;
    begins.push_back(i + 1);
    bytes = 0;
  }
  std::vector<TokenBuffer> parts(begins.size() - 1);
  parallel_for(
      static_cast<std::int64_t>(parts.size()), 1, threads,
      [&](std::int64_t begin, std::int64_t end, int) {
        const WorkerPool::Lease worker = encoder_.workers().acquire();
        for (auto at = static_cast<std::size_t>(begin); at < static_cast<std::size_t>(end); ++at) {
          for (std::size_t i = begins[at]; i < begins[at + 1]; ++i) {
            encoder_.encode(shares[i].stretch, *worker, &parts[at]);
            if (shares[i].token < 0) continue;
            parts[at].push(special_.tokens()[static_cast<std::size_t>(shares[i].token)].id);
          }
        }
      });
  return join(std::move(parts), threads);
}

std::int64_t Model::count_long(Utf8 text, int threads) const {
  if (threads == 0) threads = default_threads();
  if (threads == 1 || text.size < kLong) {
    const WorkerPool::Lease worker = encoder_.workers().acquire();
    return count(text, *worker);
  }
  const std::vector<Stretch> stretches = cut_text(encoder_, text.data, text.size, kStretchBytes);
  std::vector<std::int64_t> counts(stretches.size());
  parallel_for(static_cast<std::int64_t>(stretches.size()), 1, threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 const WorkerPool::Lease worker = encoder_.workers().acquire();
                 for (std::int64_t i = begin; i < end; ++i) {
                   const auto at = static_cast<std::size_t>(i);
                   counts[at] = encoder_.count(stretches[at], *worker);
                 }
               });
  std::int64_t total = 0;
  for (const std::int64_t count : counts) total += count;
  return total;
}

// Texts of a block, written one after another; counts[i]: how many ids text i has.
void Model::encode_rows(const Text* texts, std::int64_t count, Worker& worker, TokenBuffer* out,
                        std::int64_t* counts) const {
  std::int64_t bytes = kUtf8Slack;
  for (std::int64_t i = 0; i < count; ++i) bytes += utf8_bound(texts[i]) + 1;
  worker.row_ends.clear();
  std::uint8_t* const begin = worker.text.room(bytes);
  std::uint8_t* place = begin;
  for (std::int64_t i = 0; i < count; ++i) {
    if (texts[i].unit == 0) {
      place = std::copy_n(static_cast<const std::uint8_t*>(texts[i].data), texts[i].length, place);
    } else {
      place = write_utf8(texts[i], place);
    }
    worker.row_ends.push_back(place - begin);
    *place++ = '\n';
  }
  encoder_.encode_rows(begin, worker.row_ends.data(), count, worker, out, counts);
}

TokenBuffer Model::encode_batch(const std::vector<Text>& texts, AllowedSpecial allowed, int threads,
                                std::int64_t* offsets) const {
  const std::vector<Block> blocks = blocks_of(texts);
  std::vector<TokenBuffer> parts(blocks.size());
  offsets[0] = 0;
  for (std::size_t block = 0; block < blocks.size(); ++block) {
    if (!blocks[block].is_long) continue;
    Utf8Scratch scratch;
    const auto at = static_cast<std::size_t>(blocks[block].begin);
    parts[block] = encode_long(to_utf8(texts[at], &scratch), allowed, threads);
    offsets[at + 1] = parts[block].size();
  }
  parallel_for(static_cast<std::int64_t>(blocks.size()), 1, threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 const WorkerPool::Lease worker = encoder_.workers().acquire();
                 for (std::int64_t i = begin; i < end; ++i) {
                   const Block& block = blocks[static_cast<std::size_t>(i)];
                   TokenBuffer& ids = parts[static_cast<std::size_t>(i)];
                   if (block.is_long) continue;
                   if (!allowed.any && encoder_.takes_rows() && block.end - block.begin > 1) {
                     encode_rows(&texts[static_cast<std::size_t>(block.begin)],
                                 block.end - block.begin, *worker, &ids, offsets + block.begin + 1);
                     continue;
                   }
                   for (std::int64_t at = block.begin; at < block.end; ++at) {
                     const Text& text = texts[static_cast<std::size_t>(at)];
                     const std::int64_t before = ids.size();
                     encode(to_utf8(text, &worker->text), allowed, *worker, &ids);
                     offsets[at + 1] = ids.size() - before;
                   }
                 }
               });
  for (std::size_t i = 0; i < texts.size(); ++i) offsets[i + 1] += offsets[i];
  return join(std::move(parts), threads);
}

void Model::count_batch(const std::vector<Text>& texts, int threads, std::int64_t* counts) const {
  const std::vector<Block> blocks = blocks_of(texts);
  for (const Block& block : blocks) {
    if (!block.is_long) continue;
    Utf8Scratch scratch;
    const Text& text = texts[static_cast<std::size_t>(block.begin)];
    counts[block.begin] = count_long(to_utf8(text, &scratch), threads);
  }
  parallel_for(static_cast<std::int64_t>(blocks.size()), 1, threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 const WorkerPool::Lease worker = encoder_.workers().acquire();
                 for (std::int64_t i = begin; i < end; ++i) {
                   const Block& block = blocks[static_cast<std::size_t>(i)];
                   for (std::int64_t at = block.begin; at < block.end && !block.is_long; ++at) {
                     const Text& text = texts[static_cast<std::size_t>(at)];
                     counts[at] = count(to_utf8(text, &worker->text), *worker);
                   }
                 }
               });
}

}  // namespace tokfrag
