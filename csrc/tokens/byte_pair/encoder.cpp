#include "tokens/byte_pair/encoder.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/interrupt.hpp"
#include "tokens/byte_pair/word_lookup.hpp"

namespace tokfrag {

namespace {

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

// Pieces that end in an ideograph (or kana) are many and new, their parts few and well known.
bool ends_in_ideograph(const std::uint8_t* text, std::int64_t length) {
  return length > 3 && static_cast<std::uint8_t>(text[length - 3] - 0xE3) <= 0xE9 - 0xE3;
}

// Keeps the ids of a word of up to 63 bytes.
void remember(const std::uint8_t* text, std::int64_t length, std::uint64_t unit,
              const std::uint32_t* ids, std::int64_t count, Worker& worker) {
  if (length <= kMaxWord) {
    const WordKey key = word_key(text, length, unit);
    worker.cache.insert(key, hash_key(key), ids, count);
  } else {
    worker.long_words.insert(text, length, unit, ids, count);
  }
}

}  // namespace

Encoder::Encoder(Tables tables, bool whole_pieces, std::optional<PatternFamily> family)
    : vocabulary_(std::move(tables.vocabulary)),
      pairs_(std::move(tables.pairs)),
      joins_(std::move(tables.joins)),
      whole_pieces_(whole_pieces),
      family_(family) {}

Encoder::Encoder(Tables tables, std::optional<PatternFamily> family,
                 std::unique_ptr<const WordModel> words)
    : vocabulary_(std::move(tables.vocabulary)),
      pairs_(std::move(tables.pairs)),
      joins_(std::move(tables.joins)),
      whole_pieces_(true),
      family_(family),
      words_(std::move(words)) {}

// Whether a piece that is not known had better be encoded by its parts.
bool Encoder::cuts(const std::uint8_t* text, std::int64_t length, std::uint64_t unit) const {
  if (!ends_in_ideograph(text, length) && length <= LongWord::kMaxLength) return false;
  if (words_ != nullptr && !words_->cuts_pieces() && length > WordModel::kLongestParted) {
    return false;
  }
  // A piece that can be cut is no token; one that cannot may be.
  return unit != 0 || joins_.unit_end(text, 0, length) != length;
}

// Encodes a word that is not where the lookup has looked, and remembers it. Returns how many ids.
std::int64_t Encoder::encode_word(const std::uint8_t* bytes, std::int64_t length,
                                  std::uint64_t unit, Worker& worker, std::uint32_t* ids) const {
  WordKey key{};
  std::uint64_t hash = 0;
  const bool is_short = length <= kMaxWord;
  const bool is_long = !is_short && length <= LongWord::kMaxLength;
  if (is_short) {
    key = word_key(bytes, length, unit);
    hash = hash_key(key);
    if (const WordEntry* entry = worker.cache.find(key, hash)) {
      return worker.cache.copy_ids(*entry, ids);
    }
  } else if (is_long) {
    if (const LongWord* known = worker.long_words.find(bytes, length, unit)) {
      const std::uint32_t* const from = worker.long_words.ids(*known);
      std::copy(from, from + known->count, ids);
      return known->count;
    }
  }
  std::int64_t count = 0;
  if (words_ != nullptr) {
    count = words_->encode_word(*this, bytes, length, unit != 0, worker, ids);
    if (count == WordModel::kWholePiece) return count;
  } else if (unit == 0) {
    const Symbol symbol = vocabulary_.find(bytes, length);
    if (symbol != kNoSymbol) {
      ids[0] = vocabulary_.id(symbol);
      count = 1;
    }
  }
  if (count == 0 && words_ == nullptr) {
    count = Merger(vocabulary_, pairs_)(bytes, length, &worker.merge, ids);
  }
  if (is_short) worker.cache.insert(key, hash, ids, count);
  if (is_long) worker.long_words.insert(bytes, length, unit, ids, count);
  return count;
}

// Whether word i is one that learn_words would learn.
bool Encoder::is_new(const WordRun& words, const PackedWord* packed, int i, std::uint64_t unit,
                     Worker& worker) {
  const std::int64_t length = words.length(i);
  if (length <= kMaxWord && worker.cache.find(packed[i].key, hash_key(packed[i].key)) != nullptr) {
    return false;
  }
  const std::uint8_t* const text = words.text + words.begin_of(i);
  if (length > MergeJob::kMaxLength || ends_in_ideograph(text, length)) return false;
  return length <= kMaxWord || worker.long_words.find(text, length, unit) == nullptr;
}

// Encodes and remembers the words from `from` on that are not known yet and are not to be cut:
// first those that are tokens, each step for all of them while memory is on its way, then the
// others, side by side.
void Encoder::learn_words(const WordRun& words, const PackedWord* packed, int from, int count,
                          std::uint64_t unit, Worker& worker) const {
  struct NewWord {
    const std::uint8_t* text;
    std::int64_t length;
    std::uint64_t hash;  // as the vocabulary has it
    const PackedWord* packed;
    bool may_be_token;
  };
  NewWord fresh[kChunk];
  int fresh_count = 0;
  const auto keep = [&](const NewWord& word, const std::uint32_t* ids, std::int64_t ids_count) {
    if (word.length <= kMaxWord) {
      worker.cache.insert(word.packed->key, hash_key(word.packed->key), ids, ids_count);
    } else {
      worker.long_words.insert(word.text, word.length, unit, ids, ids_count);
    }
  };
  for (int i = from; i < count; ++i) {
    // Most are known, and in their lines. (A long word's key is that of no entry.)
    if (worker.cache.is_near(packed[i].key, hash_key(packed[i].key))) continue;
    if (!is_new(words, packed, i, unit, worker)) continue;
    const std::uint8_t* bytes = words.text + words.begin_of(i);
    const std::int64_t length = words.length(i);
    std::uint64_t hash = 0;
    if (unit == 0) {
      hash = Vocabulary::hash_of(bytes, length);
      vocabulary_.prefetch_filter(hash);
    }
    fresh[fresh_count++] = {bytes, length, hash, packed + i, unit == 0};
  }
  for (int i = 0; i < fresh_count; ++i) {
    fresh[i].may_be_token = fresh[i].may_be_token && vocabulary_.may_hold(fresh[i].hash);
    if (fresh[i].may_be_token) vocabulary_.prefetch(fresh[i].hash);
  }
  for (int i = 0; i < fresh_count; ++i) {
    if (fresh[i].may_be_token) vocabulary_.prefetch_place(fresh[i].hash);
  }
  for (int i = 0; i < fresh_count; ++i) {
    if (fresh[i].may_be_token) vocabulary_.prefetch_bytes(fresh[i].hash);
  }
  MergeJob jobs[Merger::kJobs];
  const NewWord* merged[Merger::kJobs];
  int filled = 0;
  const auto finish = [&] {
    Merger(vocabulary_, pairs_)(jobs, filled);
    for (int i = 0; i < filled; ++i) keep(*merged[i], jobs[i].ids, jobs[i].count);
    filled = 0;
  };
  for (int i = 0; i < fresh_count; ++i) {
    const NewWord& word = fresh[i];
    if (word.may_be_token) {
      const Symbol symbol = vocabulary_.find(word.text, word.length, word.hash);
      if (symbol != kNoSymbol) {
        const std::uint32_t id = vocabulary_.id(symbol);
        keep(word, &id, 1);
        continue;
      }
    }
    merged[filled] = &word;
    jobs[filled].text = word.text;
    jobs[filled++].length = word.length;
    if (filled == Merger::kJobs) finish();
  }
  if (filled > 0) finish();
}

// Encodes the units of a piece: parts that no token reaches out of.
bool Encoder::encode_units(const std::uint8_t* text, std::int64_t length, Worker& worker,
                           std::uint32_t** cursor) const {
  std::int64_t ends[kChunk];
  for (std::int64_t begin = 0; begin < length;) {
    const int count = joins_.unit_ends(text, begin, length, ends, kChunk);
    const WordRun units{text, length, begin, ends};
    if (!run_words(units, 0, count, kUnit, false, worker, cursor)) return false;
    begin = ends[count - 1];
    if (begin < length) poll_interrupt();
  }
  return true;
}

// Encodes a piece that the lookup has not found and that is not remembered as a long one.
bool Encoder::encode_new_piece(const std::uint8_t* text, std::int64_t length, std::uint64_t unit,
                               Worker& worker, std::uint32_t** cursor) const {
  if (!cuts(text, length, unit)) {
    const std::int64_t count = encode_word(text, length, unit, worker, *cursor);
    if (count == WordModel::kWholePiece) return false;
    *cursor += count;
    return true;
  }
  if (length > LongWord::kMaxLength) return encode_units(text, length, worker, cursor);
  std::uint64_t hash = 0;
  if (length <= kMaxWord) {
    const WordKey key = word_key(text, length, unit);
    hash = hash_key(key);
    // It may be in another line than the lookup has looked at.
    if (worker.cache.find(key, hash) != nullptr) {
      *cursor += encode_word(text, length, unit, worker, *cursor);
      return true;
    }
  } else {
    std::uint64_t key[8];
    make_long_key(text, length, unit, key);
    hash = hash_long_key(key);
  }
  std::uint32_t* const ids = *cursor;
  if (!encode_units(text, length, worker, cursor)) return false;
  if (worker.seen.again(hash)) remember(text, length, unit, ids, *cursor - ids, worker);
  return true;
}

// Encodes piece i, which the lookup has not found.
bool Encoder::encode_piece(const WordRun& words, int i, std::uint64_t unit, Worker& worker,
                           std::uint32_t** cursor) const {
  const std::uint8_t* const text = words.text + words.begin_of(i);
  const std::int64_t length = words.length(i);
  static_assert(PieceMemory::kMinLength == LongWord::kMaxLength + 1);
  if (length < PieceMemory::kMinLength || length > PieceMemory::kMaxLength) {
    return encode_new_piece(text, length, unit, worker, cursor);
  }
  const std::uint64_t hash = PieceMemory::hash_of(text, length, unit);
  std::uint32_t* const ids = *cursor;
  *cursor += worker.pieces.find(text, length, hash, ids);
  if (*cursor != ids) return true;
  if (!encode_new_piece(text, length, unit, worker, cursor)) return false;
  if (worker.seen.again(hash)) worker.pieces.insert(text, length, hash, ids, *cursor - ids);
  return true;
}

// Encodes words[from, count); false: words_ needs whole pieces for this text. cut: words may be
// encoded by their parts.
bool Encoder::run_words(const WordRun& words, int from, int count, std::uint64_t unit, bool cut,
                        Worker& worker, std::uint32_t** cursor) const {
  const WordLookup& lookup = word_lookup_kernels();
  bool learned = words_ != nullptr;
  PackedWord packed[kChunk];
  WordTables tables;
  worker.tables(&tables);
  lookup.pack(words, from, count, unit, tables, packed);
  for (int i = from;; ++i) {
    i = lookup.emit(words, packed, i, count, unit, tables, cursor);
    if (i == count) return true;
    if (cut && !learned && is_new(words, packed, i, unit, worker)) {
      // Where one word is new, others are.
      learn_words(words, packed, i, count, unit, worker);
      learned = true;
    }
    if (cut) {
      if (!encode_piece(words, i, unit, worker, cursor)) return false;
    } else {
      const std::int64_t ids =
          encode_word(words.text + words.begin_of(i), words.length(i), unit, worker, *cursor);
      if (ids == WordModel::kWholePiece) return false;
      *cursor += ids;
    }
    worker.tables(&tables);  // which may have moved
  }
}

template <class Pieces>
std::int64_t Encoder::run(Pieces pieces, const Stretch& stretch, Worker& worker, TokenBuffer* out,
                          bool keep, std::int64_t limit) const {
  const std::uint64_t unit = whole_pieces_ ? 0 : kUnit;
  std::int64_t ends[kChunk];
  WordRun words{stretch.text, stretch.size, 0, ends};
  std::int64_t total = 0;
  const std::int64_t begin = out->size();
  // Room for an id a byte: no block is then outgrown and copied. What is not written to is never
  // touched, and given back. (Large ones grow without a copy.)
  if (keep && limit == INT64_MAX) {
    constexpr std::int64_t kMostAtOnce = 1 << 22;
    out->reserve_more(std::min(stretch.size, kMostAtOnce) + WordLookup::kMostOver);
  }
  while (const auto count = static_cast<int>(pieces.next(ends, kChunk))) {
    const std::int64_t end = ends[count - 1];
    out->reserve_more(end - words.begin + WordLookup::kMostOver);
    std::uint32_t* cursor = out->data() + out->size();
    // Where a stretch is cut inside a piece there are parts of it, whatever they look like.
    const int first = stretch.begins_inside && words.begin == 0 ? 1 : 0;
    const int last =
        stretch.ends_inside && end == stretch.size && count > first ? count - 1 : count;
    const bool all = run_words(words, 0, first, kUnit, true, worker, &cursor) &&
                     run_words(words, first, last, unit, true, worker, &cursor) &&
                     run_words(words, last, count, kUnit, true, worker, &cursor);
    words.begin = end;
    if (!all) {
      // From the beginning again, without cutting pieces.
      out->set_size(begin);
      run_pieces(stretch, worker, out, nullptr);
      if (keep) break;
      total = out->size();
      out->clear();
      break;
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

// Encodes a piece by its parts, if these can be told apart; else leaves `out` as it was.
bool Encoder::run_parts(const std::uint8_t* text, std::int64_t length, Worker& worker,
                        TokenBuffer* out) const {
  const std::int64_t size = out->size();
  out->reserve_more(length);
  for (std::int64_t begin = 0; begin < length;) {
    const std::int64_t end = joins_.unit_end(text, begin, length);
    const std::int64_t count =
        encode_word(text + begin, end - begin, kUnit, worker, out->data() + out->size());
    if (count == WordModel::kWholePiece) {
      out->set_size(size);
      return false;
    }
    out->set_size(out->size() + count);
    begin = end;
  }
  return true;
}

// Encodes piece by piece: what words_ could not tell of a part, it can of the whole.
void Encoder::run_pieces(const Stretch& stretch, Worker& worker, TokenBuffer* out,
                         std::vector<Span>* spans) const {
  const auto encode_one = [&](std::int64_t begin, std::int64_t end) {
    const std::uint8_t* const text = stretch.text + begin;
    const std::int64_t length = end - begin;
    if (spans == nullptr && length <= LongWord::kMaxLength) {
      out->reserve_more(length);
      out->set_size(out->size() + encode_word(text, length, 0, worker, out->data() + out->size()));
      return;
    }
    if (spans == nullptr && length <= WordModel::kLongestParted && words_->takes_parts() &&
        run_parts(text, length, worker, out)) {
      return;
    }
    const std::size_t first = spans != nullptr ? spans->size() : 0;
    words_->encode_piece(*this, text, length, worker, out, spans);
    if (spans == nullptr) return;
    for (std::size_t i = first; i < spans->size(); ++i) {
      (*spans)[i].begin += begin;
      (*spans)[i].end += begin;
    }
  };
  if (!family_) {
    if (stretch.size > 0) encode_one(0, stretch.size);
    return;
  }
  Scanner scanner(*family_, stretch.text, stretch.size);
  std::int64_t ends[kChunk];
  std::int64_t begin = 0;
  while (const std::int64_t count = scanner.next(ends, kChunk)) {
    for (std::int64_t i = 0; i < count; ++i) {
      encode_one(begin, ends[i]);
      begin = ends[i];
    }
    poll_interrupt();
  }
}

void Encoder::encode_spans(const Stretch& stretch, Worker& worker, TokenBuffer* out,
                           std::vector<Span>* spans) const {
  run_pieces(stretch, worker, out, spans);
  worker.merge.trim();
}

void Encoder::encode(const Stretch& stretch, Worker& worker, TokenBuffer* out,
                     std::int64_t limit) const {
  if (words_ != nullptr && !words_->takes_parts()) {
    run_pieces(stretch, worker, out, nullptr);
  } else if (family_) {
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
  if (words_ != nullptr && !words_->takes_parts()) {
    run_pieces(stretch, worker, &worker.ids, nullptr);
    return worker.ids.size();
  }
  if (family_) {
    return run(Scanner(*family_, stretch.text, stretch.size), stretch, worker, &worker.ids, false,
               INT64_MAX);
  }
  return run(WholeText{stretch.size}, stretch, worker, &worker.ids, false, INT64_MAX);
}

}  // namespace tokfrag
