#include "tokens/encoder.hpp"

#include <cstring>
#include <utility>

#include "core/interrupt.hpp"

namespace tokfrag {

namespace {

constexpr int kChunk = 256;

// Where pieces come from: a scanner, a list of ends, or the text as one piece.
struct GivenPieces {
  const std::int64_t* ends;
  std::int64_t left;
  std::int64_t next(std::int64_t* out, std::int64_t capacity) {
    const std::int64_t count = left < capacity ? left : capacity;
    std::memcpy(out, ends, static_cast<std::size_t>(count) * sizeof(*out));
    ends += count;
    left -= count;
    return count;
  }
};

struct WholeText {
  std::int64_t size;
  std::int64_t next(std::int64_t* out, std::int64_t) {
    if (size == 0) return 0;
    *out = std::exchange(size, 0);
    return 1;
  }
};

// A word to look up: a piece, or a unit, a part of a piece that no token crosses out of.
struct Word {
  WordKey key;  // of a word too long for the cache: one that no entry has
  std::uint64_t hash;
  std::int64_t begin;
  std::int64_t length;
  std::uint32_t shunned;  // flags of a cache entry that may not answer for this word
};

constexpr WordKey kNoKey{0, ~0ull};

}  // namespace

Encoder::Encoder(Vocabulary vocabulary, PairTable pairs, bool whole_pieces,
                 std::optional<PatternFamily> family)
    : vocabulary_(std::move(vocabulary)),
      pairs_(std::move(pairs)),
      joins_(vocabulary_),
      whole_pieces_(whole_pieces),
      family_(family),
      workers_(vocabulary_) {}

// Two passes over a chunk of words at a time: the first makes keys and asks for their cache lines,
// the second reads the lines and writes four ids at once, of which the entry says how many count.
template <class Pieces>
std::int64_t Encoder::run(Pieces pieces, const Stretch& stretch, Worker& worker, TokenBuffer* out,
                          bool keep, std::int64_t limit) const {
  const std::uint8_t* text = stretch.text;
  const std::int64_t size = stretch.size;
  WordCache& cache = worker.cache;
  const Merger merger(vocabulary_, pairs_);

  std::int64_t ends[kChunk];
  Word words[kChunk];
  std::int64_t piece_count = 0;
  std::int64_t piece = 0;
  std::int64_t begin = 0;     // of the next piece
  std::int64_t unit = 0;      // of the next unit, in a piece being split
  std::int64_t unit_end = 0;  // of that piece
  std::int64_t total = 0;

  // A long piece that can be split is no token; only the others are worth looking up.
  const auto is_token = [&](const std::uint8_t* bytes, std::int64_t length) {
    return joins_.unit_end(bytes, 0, length) == length &&
           vocabulary_.find(bytes, length) != kNoSymbol;
  };

  // Encodes a word that the fast path has not found, and remembers it.
  const auto look_further = [&](const Word& word, std::uint32_t* ids) -> std::int64_t {
    const std::uint8_t* bytes = text + word.begin;
    const bool cached = word.length <= WordKey::kMaxLength;
    const WordCache::Entry* entry = cached ? cache.find(word.key, word.hash) : nullptr;
    if (entry != nullptr && (entry->ids[0] & word.shunned) == 0) {
      if (entry->count() == WordCache::kSpilled) {
        std::memcpy(ids, cache.spilled(*entry), entry->ids[1] * sizeof(*ids));
        return entry->ids[1];
      }
      for (unsigned i = 0; i < entry->count(); ++i) ids[i] = entry->ids[i] & WordCache::kIdMask;
      return entry->count();
    }
    const Symbol symbol = vocabulary_.find(bytes, word.length);
    if (symbol != kNoSymbol && word.shunned == 0) {
      ids[0] = vocabulary_.id(symbol);
      const std::uint32_t seed = ids[0] | WordCache::kSeed;
      if (cached) cache.insert(word.key, word.hash, &seed, 1);
      return 1;
    }
    const std::int64_t count = merger(bytes, word.length, &worker.merge, ids);
    // A token that merging does not reach is not remembered as its parts, which are right for a
    // unit but not for a piece.
    if (cached && (symbol == kNoSymbol || count == 1)) {
      cache.insert(word.key, word.hash, ids, count);
    }
    return count;
  };

  for (;;) {
    int filled = 0;
    std::int64_t bytes = 0;
    while (filled < kChunk) {
      Word& word = words[filled];
      if (unit < unit_end) {
        const std::int64_t end = joins_.unit_end(text, unit, unit_end);
        word.begin = unit;
        word.length = end - unit;
        word.shunned = WordCache::kSeed;
        unit = end;
      } else {
        if (piece == piece_count) {
          piece_count = pieces.next(ends, kChunk);
          piece = 0;
          if (piece_count == 0) break;
        }
        const std::int64_t end = ends[piece++];
        const bool part =
            (stretch.begins_inside && begin == 0) || (stretch.ends_inside && end == size);
        word.begin = begin;
        word.length = end - begin;
        word.shunned = whole_pieces_ && !part ? 0 : WordCache::kSeed;
        if (word.length > WordKey::kMaxLength &&
            !(word.shunned == 0 && is_token(text + begin, word.length))) {
          unit = begin;
          unit_end = end;
          begin = end;
          continue;
        }
        begin = end;
      }
      if (word.length <= WordKey::kMaxLength) {
        word.key = word.begin + 16 <= size ? word_key_wide(text + word.begin, word.length)
                                           : word_key(text + word.begin, word.length);
        word.hash = word.key.hash();
        __builtin_prefetch(cache.line(word.hash));
      } else {
        word.key = kNoKey;
        word.hash = 0;
      }
      bytes += word.length;
      ++filled;
    }
    if (filled == 0) break;

    out->reserve_more(bytes + 4);
    std::uint32_t* cursor = out->data() + out->size();
    for (int i = 0; i < filled; ++i) {
      const Word& word = words[i];
      const WordCache::Entry* entry = cache.line(word.hash);
      const bool first = entry[0].has(word.key);
      const bool second = entry[1].has(word.key);
      entry += second;
      const unsigned count = entry->count();
      if (__builtin_expect((first | second) & (count < WordCache::kSpilled) &
                               ((entry->ids[0] & word.shunned) == 0),
                           1)) {
        std::uint64_t pairs[2];
        std::memcpy(pairs, entry->ids, sizeof pairs);
        constexpr std::uint64_t kMask =
            (std::uint64_t{WordCache::kIdMask} << 32) | WordCache::kIdMask;
        pairs[0] &= kMask;
        pairs[1] &= kMask;
        std::memcpy(cursor, pairs, sizeof pairs);
        cursor += count;
      } else {
        cursor += look_further(word, cursor);
      }
    }
    out->set_size(cursor - out->data());
    if (!keep) {
      total += out->size();
      out->clear();
    } else if (out->size() >= limit) {
      break;
    }
    poll_interrupt();
  }
  worker.merge.trim();
  return total;
}

void Encoder::encode(const Stretch& stretch, Worker& worker, TokenBuffer* out,
                     std::int64_t limit) const {
  if (family_) {
    run(Scanner(*family_, stretch.text, stretch.size), stretch, worker, out, true, limit);
  } else {
    run(WholeText{stretch.size}, stretch, worker, out, true, limit);
  }
}

void Encoder::encode_pieces(const std::uint8_t* text, const std::int64_t* ends, std::int64_t count,
                            Worker& worker, TokenBuffer* out) const {
  if (count == 0) return;
  run(GivenPieces{ends, count}, Stretch{text, ends[count - 1]}, worker, out, true, INT64_MAX);
}

std::int64_t Encoder::count(const Stretch& stretch, Worker& worker) const {
  worker.ids.clear();
  if (family_) {
    return run(Scanner(*family_, stretch.text, stretch.size), stretch, worker, &worker.ids, false,
               INT64_MAX);
  }
  return run(WholeText{stretch.size}, stretch, worker, &worker.ids, false, INT64_MAX);
}

}  // namespace tokfrag
