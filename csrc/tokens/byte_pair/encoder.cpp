#include "tokens/byte_pair/encoder.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/interrupt.hpp"
#include "tokens/byte_pair/word_lookup.hpp"

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

// Pieces as words, or cut into words: units, parts of a piece that no token crosses out of.
template <class Pieces>
class WordSource {
 public:
  WordSource(const Encoder& encoder, const Stretch& stretch, Pieces pieces)
      : encoder_(encoder), stretch_(stretch), pieces_(std::move(pieces)) {
    words.text = stretch.text;
  }

  // The batch at hand.
  WordRun words{nullptr, 0, nullptr, nullptr, 0};

  // Takes the next words; false at the end of the text. Pieces are words as they are at first.
  bool next() {
    words.begin = words.count > 0 ? words.ends[words.count - 1] : 0;
    if (unit_ == unit_end_ && piece_ == piece_count_) {
      piece_count_ = pieces_.next(piece_ends_, kChunk);
      piece_ = 0;
      if (piece_count_ == 0) return false;
      piece_begin_ = words.begin;
      if (!splitting_ && !holds_units()) {
        words.ends = piece_ends_;
        words.units = nullptr;
        words.count = static_cast<int>(piece_count_);
        piece_ = piece_count_;
        return true;
      }
    }
    split();
    return true;
  }

  // Takes the batch back and cuts what is worth splitting.
  void split_batch() {
    piece_ = 0;
    split();
  }

 private:
  // Whether some piece at hand must not be taken for a token.
  bool holds_units() const {
    return !encoder_.whole_pieces() || (stretch_.begins_inside && words.begin == 0) ||
           (stretch_.ends_inside && piece_ends_[piece_count_ - 1] == stretch_.size);
  }

  bool may_split(std::int64_t length) const {
    const WordModel* const words_model = encoder_.words();
    return words_model == nullptr || words_model->cuts_pieces() ||
           length <= WordModel::kLongestParted;
  }

  void split() {
    const JoinFilter& joins = encoder_.joins();
    words.ends = word_ends_;
    words.units = word_units_;
    int count = 0;
    splitting_ = false;
    while (count < kChunk) {
      if (unit_ < unit_end_) {
        const int more =
            joins.unit_ends(stretch_.text, unit_, unit_end_, word_ends_ + count, kChunk - count);
        std::fill_n(word_units_ + count, more, true);
        count += more;
        unit_ = word_ends_[count - 1];
        continue;
      }
      if (piece_ == piece_count_) break;
      const std::int64_t from = piece_begin_;
      const std::int64_t end = piece_ends_[piece_++];
      piece_begin_ = end;
      const bool part =
          (stretch_.begins_inside && from == 0) || (stretch_.ends_inside && end == stretch_.size);
      const bool whole = encoder_.whole_pieces() && !part;
      const std::uint8_t* bytes = stretch_.text + from;
      if (!worth_splitting(bytes, end - from) || !may_split(end - from)) {
        word_units_[count] = !whole;
        word_ends_[count++] = end;
        continue;
      }
      splitting_ = true;  // and so, most likely, will the next pieces be
      unit_ = from;
      unit_end_ = end;
      // A piece that can be split is no token; one that cannot may be.
      if (whole && joins.unit_end(stretch_.text, from, end) == end) {
        word_units_[count] = false;
        word_ends_[count++] = end;
        unit_ = end;
      }
    }
    words.count = count;
  }

  const Encoder& encoder_;
  const Stretch& stretch_;
  Pieces pieces_;
  bool splitting_ = false;
  std::int64_t piece_ends_[kChunk];
  std::int64_t piece_count_ = 0;
  std::int64_t piece_ = 0;
  std::int64_t piece_begin_ = 0;
  std::int64_t unit_ = 0;  // the next unit, in a piece being split
  std::int64_t unit_end_ = 0;
  std::int64_t word_ends_[kChunk];
  bool word_units_[kChunk];
};

}  // namespace

Encoder::Encoder(Tables tables, bool whole_pieces, std::optional<PatternFamily> family)
    : vocabulary_(std::move(tables.vocabulary)),
      pairs_(std::move(tables.pairs)),
      joins_(std::move(tables.joins)),
      whole_pieces_(whole_pieces),
      family_(family),
      workers_(vocabulary_, whole_pieces) {}

Encoder::Encoder(Tables tables, std::optional<PatternFamily> family,
                 std::unique_ptr<const WordModel> words)
    : vocabulary_(std::move(tables.vocabulary)),
      pairs_(std::move(tables.pairs)),
      joins_(std::move(tables.joins)),
      whole_pieces_(true),
      family_(family),
      words_(std::move(words)),
      workers_(vocabulary_, false) {}

// Encodes a word that the lookup has not found in its line, and remembers it.
std::int64_t Encoder::encode_word(const std::uint8_t* bytes, std::int64_t length, bool unit,
                                  Worker& worker, std::uint32_t* ids) const {
  WordKey key{};
  std::uint64_t hash = 0;
  const bool is_short = length <= kMaxWord;
  const bool is_long = !is_short && length <= kMaxLongWord;
  if (is_short) {
    key = word_key(bytes, length, unit ? kUnit : 0);
    hash = hash_key(key);
    if (const WordEntry* entry = worker.cache.find(key, hash)) {
      const std::uint32_t* from = entry->ids;
      std::int64_t count = id_count(*entry);
      if (count == kSpilled) {
        from = worker.cache.spilled(*entry);
        count = entry->ids[1];
      }
      for (std::int64_t i = 0; i < count; ++i) ids[i] = from[i] & kIdMask;
      return count;
    }
  } else if (is_long) {
    std::int64_t count = 0;
    if (const std::uint32_t* known = worker.long_words.find(bytes, length, unit, &count)) {
      std::copy(known, known + count, ids);
      return count;
    }
  }
  std::int64_t count = 0;
  if (words_ != nullptr) {
    count = words_->encode_word(*this, bytes, length, unit, worker, ids);
    if (count == WordModel::kWholePiece) return count;
  } else if (!unit && !(is_short && worker.cache.holds_all_tokens())) {
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

// Encodes and remembers the words from `from` on that are not known yet.
void Encoder::learn_words(const WordRun& words, const PackedWord* packed, int from,
                          Worker& worker) const {
  MergeJob jobs[Merger::kJobs];
  int places[Merger::kJobs];
  int filled = 0;
  const auto finish = [&] {
    Merger(vocabulary_, pairs_)(jobs, filled);
    for (int i = 0; i < filled; ++i) {
      const MergeJob& job = jobs[i];
      const int place = places[i];
      if (job.length <= kMaxWord) {
        worker.cache.insert(packed[place].key, packed[place].hash, job.ids, job.count);
      } else {
        worker.long_words.insert(job.text, job.length, words.is_unit(place), job.ids, job.count);
      }
    }
    filled = 0;
  };
  for (int i = from; i < words.count; ++i) {
    const std::uint8_t* bytes = words.text + words.begin_of(i);
    const std::int64_t length = words.length(i);
    const bool unit = words.is_unit(i);
    if (length > MergeJob::kMaxLength) continue;
    std::int64_t count = 0;
    if (length <= kMaxWord ? worker.cache.find(packed[i].key, packed[i].hash) != nullptr
                           : worker.long_words.find(bytes, length, unit, &count) != nullptr) {
      continue;
    }
    // What may be a token is left to encode_word.
    if (!unit && !(length <= kMaxWord && worker.cache.holds_all_tokens()) &&
        vocabulary_.find(bytes, length) != kNoSymbol) {
      continue;
    }
    jobs[filled].text = bytes;
    jobs[filled].length = length;
    places[filled++] = i;
    if (filled == Merger::kJobs) finish();
  }
  if (filled > 0) finish();
}

template <class Pieces>
std::int64_t Encoder::run(Pieces pieces, const Stretch& stretch, Worker& worker, TokenBuffer* out,
                          bool keep, std::int64_t limit) const {
  const WordLookup& lookup = word_lookup_kernels();
  PackedWord packed[kChunk];
  WordSource<Pieces> source(*this, stretch, std::move(pieces));
  const WordRun& words = source.words;
  std::int64_t total = 0;
  const std::int64_t begin = out->size();
  while (source.next()) {
    const auto pack = [&] {
      return lookup.pack(stretch.text, stretch.size, words.begin, words.ends, words.units,
                         words.count, worker.cache.lines(), packed);
    };
    if (pack()) {
      source.split_batch();
      pack();
    }
    out->reserve_more(words.ends[words.count - 1] - words.begin + 4);
    std::uint32_t* cursor = out->data() + out->size();
    bool learned = words_ != nullptr;
    bool whole = false;
    for (int i = 0;; ++i) {
      i = lookup.emit(packed, i, words.count, worker.cache.lines(), &cursor);
      if (i == words.count) break;
      if (!learned && words.length(i) <= kMaxWord &&
          worker.cache.find(packed[i].key, packed[i].hash) == nullptr) {
        // Where one word is new, others are.
        learn_words(words, packed, i, worker);
        learned = true;
      }
      const std::int64_t count = encode_word(stretch.text + words.begin_of(i), words.length(i),
                                             words.is_unit(i), worker, cursor);
      whole = count == WordModel::kWholePiece;
      if (whole) break;
      cursor += count;
    }
    if (whole) {
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
        encode_word(text + begin, end - begin, true, worker, out->data() + out->size());
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
    if (spans == nullptr && length <= kMaxLongWord) {
      out->reserve_more(length);
      out->set_size(out->size() +
                    encode_word(text, length, false, worker, out->data() + out->size()));
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
