#include "tokens/byte_pair/character_merges.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "tokens/byte_pair/encoder.hpp"
#include "tokens/text/utf8.hpp"

namespace tokfrag {

CharacterMerges::CharacterMerges(CharacterIds ids) : ids_(std::move(ids)) {
  if (ids_.bytes.size() != 256) throw std::invalid_argument("bytes: takes 256 ids");
  const bool all_bytes = std::find(ids_.bytes.begin(), ids_.bytes.end(), kNoId) == ids_.bytes.end();
  if (!all_bytes && ids_.unknown == kNoId) {
    throw std::invalid_argument(
        "no unknown token, and not a token for each of the 256 bytes: a character that no token "
        "holds could not be encoded");
  }
  may_fuse_ = ids_.fuse_unknown && !all_bytes;
}

// Calls emit(id, begin, end) for each token of a text merged to symbols; returns whether one was
// unknown.
template <class Emit>
bool CharacterMerges::resolve(const Encoder& encoder, const std::uint8_t* text, std::int64_t length,
                              const std::uint32_t* symbols, Emit emit) const {
  const Vocabulary& vocabulary = encoder.vocabulary();
  bool any_unknown = false;
  std::int64_t at = 0;
  while (at < length) {
    const std::uint32_t symbol = *symbols++;
    const std::int64_t end = at + vocabulary.length(symbol);
    if (ids_.ids[symbol] != kNoId) {
      emit(ids_.ids[symbol], at, end);
      at = end;
      continue;
    }
    // Whole characters are left, in as many symbols as they take.
    std::int64_t covered = end;
    std::int64_t to = at;
    while (to < covered) {
      to += decode_utf8(text, length, to).length;
      while (covered < to) covered += vocabulary.length(*symbols++);
    }
    while (at < to) {
      const std::int64_t size = decode_utf8(text, length, at).length;
      bool known = true;
      for (std::int64_t i = at; i < at + size; ++i) known &= ids_.bytes[text[i]] != kNoId;
      if (known) {
        for (std::int64_t i = at; i < at + size; ++i) emit(ids_.bytes[text[i]], i, i + 1);
      } else {
        any_unknown = true;
        emit(ids_.unknown, at, at + size);
      }
      at += size;
    }
  }
  return any_unknown;
}

std::int64_t CharacterMerges::encode_word(const Encoder& encoder, const std::uint8_t* text,
                                          std::int64_t length, bool part, Worker& worker,
                                          std::uint32_t* ids) const {
  constexpr std::int64_t kShort = 64;
  std::uint32_t few[kShort];
  std::vector<std::uint32_t> many;
  std::uint32_t* symbols = few;
  if (length > kShort) {
    many.resize(static_cast<std::size_t>(length));
    symbols = many.data();
  }
  Merger(encoder.vocabulary(), encoder.pairs())(text, length, &worker.merge, symbols);
  std::int64_t count = 0;
  bool after_unknown = false;
  const bool unknown =
      resolve(encoder, text, length, symbols, [&](std::uint32_t id, std::int64_t, std::int64_t) {
        const bool fused = may_fuse_ && after_unknown && id == ids_.unknown;
        ids[count] = id;
        count += !fused;
        after_unknown = id == ids_.unknown;
      });
  return unknown && part && may_fuse_ ? kWholePiece : count;
}

void CharacterMerges::encode_piece(const Encoder& encoder, const std::uint8_t* text,
                                   std::int64_t length, Worker& worker, TokenBuffer* ids,
                                   std::vector<Span>* spans) const {
  std::vector<std::uint32_t> symbols(static_cast<std::size_t>(length));
  Merger(encoder.vocabulary(), encoder.pairs())(text, length, &worker.merge, symbols.data());
  bool after_unknown = false;
  resolve(encoder, text, length, symbols.data(),
          [&](std::uint32_t id, std::int64_t begin, std::int64_t end) {
            if (may_fuse_ && after_unknown && id == ids_.unknown) {
              if (spans != nullptr) spans->back().end = end;
              return;
            }
            ids->push(id);
            if (spans != nullptr) spans->push_back({begin, end});
            after_unknown = id == ids_.unknown;
          });
}

}  // namespace tokfrag
