#include "tokens/byte_pair/dropout.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "core/interrupt.hpp"
#include "core/parallel.hpp"
#include "tokens/byte_pair/random_merge.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kMaxPiece = 0xfffffffe;

// Encodes pieces one by one; one thread at a time.
class DropoutEncoder {
 public:
  DropoutEncoder(const Model& model, Dropout dropout)
      : vocabulary_(model.encoder().vocabulary()),
        pairs_(model.encoder().pairs()),
        dropout_(dropout) {}

  void piece(const std::uint8_t* bytes, std::int64_t length, std::uint64_t stream,
             TokenBuffer* out) {
    if (length > kMaxPiece) {
      throw std::overflow_error("text: a piece of 2**32 - 1 bytes or more, with dropout");
    }
    symbols_.resize(static_cast<std::size_t>(length));
    for (std::size_t i = 0; i < symbols_.size(); ++i) {
      symbols_[i] = vocabulary_.byte_symbol(bytes[i]);
    }
    SplitMix random(dropout_.seed, stream);
    merge_(symbols_, dropout_.probability, random, [&](Symbol left, Symbol right) {
      const Rank rank = pairs_.find(left, right);
      return Merging{rank, rank == kNoRank ? 0 : pairs_.merged(rank)};
    });
    out->reserve_more(static_cast<std::int64_t>(symbols_.size()));
    for (const Symbol symbol : symbols_) out->push(vocabulary_.id(symbol));
  }

  // A stretch of a text that holds no special token.
  void stretch(const Model& model, const std::uint8_t* text, std::int64_t size,
               std::uint64_t stream, TokenBuffer* out) {
    if (!model.encoder().family()) {
      if (size > 0) piece(text, size, stream, out);
      return;
    }
    Scanner scanner(*model.encoder().family(), text, size);
    std::int64_t ends[256];
    std::int64_t begin = 0;
    while (const std::int64_t count = scanner.next(ends, 256)) {
      poll_interrupt();
      for (std::int64_t i = 0; i < count; ++i) {
        piece(text + begin, ends[i] - begin, stream + static_cast<std::uint64_t>(begin), out);
        begin = ends[i];
      }
    }
  }

  void text(const Model& model, Utf8 text, AllowedSpecial allowed, std::uint64_t stream,
            TokenBuffer* out) {
    std::int64_t from = 0;
    const auto stretch_to = [&](std::int64_t end) {
      stretch(model, text.data + from, end - from, stream + static_cast<std::uint64_t>(from), out);
    };
    while (allowed.any) {
      const auto match = model.special().find(text.data, text.size, from, allowed.flags);
      if (match.token < 0) break;
      stretch_to(match.begin);
      out->push(model.special().tokens()[static_cast<std::size_t>(match.token)].id);
      from = match.end;
    }
    stretch_to(text.size);
  }

 private:
  static_assert(kNoRank == Merging::kNever);

  const Vocabulary& vocabulary_;
  const PairTable& pairs_;
  Dropout dropout_;
  RandomMerger merge_;
  std::vector<std::uint32_t> symbols_;
};

}  // namespace

TokenBuffer encode_with_dropout(const Model& model, const std::vector<Text>& texts,
                                AllowedSpecial allowed, const std::uint64_t* streams,
                                Dropout dropout, int threads, std::int64_t* offsets) {
  constexpr std::int64_t kTextsAtOnce = 16;
  const auto count = static_cast<std::int64_t>(texts.size());
  std::vector<TokenBuffer> parts(
      static_cast<std::size_t>((count + kTextsAtOnce - 1) / kTextsAtOnce));
  parallel_for(static_cast<std::int64_t>(parts.size()), 1, threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 DropoutEncoder encoder(model, dropout);
                 Utf8Scratch scratch;
                 for (std::int64_t part = begin; part < end; ++part) {
                   TokenBuffer& ids = parts[static_cast<std::size_t>(part)];
                   const std::int64_t last = std::min((part + 1) * kTextsAtOnce, count);
                   for (std::int64_t i = part * kTextsAtOnce; i < last; ++i) {
                     const std::int64_t before = ids.size();
                     encoder.text(model, to_utf8(texts[static_cast<std::size_t>(i)], &scratch),
                                  allowed, streams[i], &ids);
                     offsets[i + 1] = ids.size() - before;
                   }
                 }
               });
  offsets[0] = 0;
  for (std::int64_t i = 0; i < count; ++i) offsets[i + 1] += offsets[i];
  TokenBuffer all;
  all.reserve_more(offsets[count] + 1);
  for (TokenBuffer& part : parts) {
    if (part.size() == 0) continue;
    std::memcpy(all.data() + all.size(), part.data(),
                static_cast<std::size_t>(part.size()) * sizeof(std::uint32_t));
    all.set_size(all.size() + part.size());
    part = TokenBuffer();
  }
  return all;
}

TokenBuffer encode_with_dropout(const Model& model, Utf8 text, const std::int64_t* ends,
                                std::int64_t count, std::uint64_t stream, Dropout dropout) {
  DropoutEncoder encoder(model, dropout);
  TokenBuffer ids;
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (i % 256 == 0) poll_interrupt();
    encoder.piece(text.data + begin, ends[i] - begin, stream + static_cast<std::uint64_t>(begin),
                  &ids);
    begin = ends[i];
  }
  return ids;
}

}  // namespace tokfrag
