#include "tokens/wordpiece/encoder.hpp"

#include <algorithm>
#include <utility>

#include "core/interrupt.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kChunk = 192;

constexpr std::int64_t kJoined = 1 << 14;  // bytes of rows that are looked at as one text

// Runs of ideographs (and kana) are many, long and new: their characters are words of their own,
// found faster one by one.
bool is_ideograph(std::uint8_t first_byte) {
  return static_cast<std::uint8_t>(first_byte - 0xE3) <= 0xE9 - 0xE3;
}

bool ends_in_ideograph(const std::uint8_t* text, std::int64_t length) {
  return length >= 3 && is_ideograph(text[length - 3]);
}

bool begins_in_ideograph(TextView text) { return text.size >= 3 && is_ideograph(text.data[0]); }

// Keeps the ids of a piece where it fits. More ids than bytes are not kept: whoever writes known
// ids makes room by the bytes.
void remember(const std::uint8_t* text, std::int64_t length, const std::vector<std::uint32_t>& ids,
              Worker& worker) {
  const auto count = static_cast<std::int64_t>(ids.size());
  if (count > length || length > LongWord::kMaxLength) return;
  if (length <= kMaxWord) {
    const WordKey key = word_key(text, length, 0);
    worker.cache.insert(key, hash_key(key), ids.data(), count);
  } else if (count > 0) {
    worker.long_words.insert(text, length, 0, ids.data(), count);
  }
}

}  // namespace

WordPieceEncoder::WordPieceEncoder(WordPiece model) : model_(std::move(model)) {
  for (unsigned byte = 0; byte < 128; ++byte) {
    const auto ascii = static_cast<std::uint8_t>(byte);
    if (model_.is_space(ascii)) sets_.spaces.add(ascii);
    if (model_.is_alone(ascii)) sets_.alone.add(ascii);
  }
}

// The ids of piece i, which is not where the lookup has looked.
void WordPieceEncoder::encode_new(const WordRun& pieces, int i, Worker& worker,
                                  std::vector<std::uint32_t>* ids) const {
  const std::uint8_t* const text = pieces.text + pieces.begin_of(i);
  const std::int64_t length = pieces.length(i);
  ids->clear();
  const bool kept = !ends_in_ideograph(text, length);
  if (kept && length <= kMaxWord) {
    // It may be in another line.
    const WordKey key = word_key(text, length, 0);
    if (const WordEntry* const entry = worker.cache.find(key, hash_key(key))) {
      ids->resize(count_of(*entry));
      worker.cache.copy_ids(*entry, ids->data());
      return;
    }
  }
  model_.encode(text, length, ids, nullptr);
  if (kept) remember(text, length, *ids, worker);
}

void WordPieceEncoder::run(const Joined& joined, Worker& worker, TokenBuffer* out,
                           std::int64_t* id_counts) const {
  const WordLookup& lookup = word_lookup_kernels();
  const PieceEnds& scanner = piece_ends();
  const TextView text = joined.text;
  std::int64_t ends[kChunk];
  PackedWord packed[kChunk];
  PieceScan scan;
  WordTables tables;
  std::vector<std::uint32_t> fresh;
  WordRun pieces{text.data, text.size, 0, ends};
  std::int64_t row = 0;
  std::int64_t before = out->size();
  const auto end_row = [&] {
    id_counts[row++] = out->size() - before;
    before = out->size();
  };
  while (const auto count =
             static_cast<int>(scanner.next(sets_, text.data, text.size, &scan, ends, kChunk))) {
    const std::int64_t end = ends[count - 1];
    out->reserve_more(end - pieces.begin + WordLookup::kMostOver);
    std::uint32_t* cursor = out->data() + out->size();
    worker.tables(&tables);
    lookup.pack(pieces, 0, count, 0, tables, packed);
    for (int i = 0; i < count;) {
      // A piece is of the row that its end is in: spaces between rows become nothing.
      int stop = i;
      while (stop < count && ends[stop] <= joined.row_ends[row]) ++stop;
      for (;; ++i) {
        i = lookup.emit(pieces, packed, i, stop, 0, tables, &cursor);
        out->set_size(cursor - out->data());
        if (i == stop) break;
        encode_new(pieces, i, worker, &fresh);
        const auto more = static_cast<std::int64_t>(fresh.size());
        out->reserve_more(more + end - ends[i] + WordLookup::kMostOver);
        cursor = std::copy(fresh.begin(), fresh.end(), out->data() + out->size());
        worker.tables(&tables);  // which may have moved
      }
      if (stop < count) end_row();
    }
    pieces.begin = end;
    poll_interrupt();
  }
  while (row < joined.rows) end_row();
}

void WordPieceEncoder::encode_directly(TextView text, TokenBuffer* out) const {
  std::vector<std::uint32_t> ids;
  model_.encode(text.data, text.size, &ids, nullptr);
  out->reserve_more(static_cast<std::int64_t>(ids.size()));
  std::copy(ids.begin(), ids.end(), out->data() + out->size());
  out->set_size(out->size() + static_cast<std::int64_t>(ids.size()));
}

void WordPieceEncoder::encode(TextView text, Worker& worker, TokenBuffer* out) const {
  if (begins_in_ideograph(text)) return encode_directly(text, out);
  std::int64_t count = 0;
  run({text, &text.size, 1}, worker, out, &count);
}

void WordPieceEncoder::encode_rows(const TextView* rows, std::int64_t count, Worker& worker,
                                   TokenBuffer* out, std::int64_t* id_counts) const {
  std::vector<std::int64_t> row_ends;
  for (std::int64_t from = 0; from < count;) {
    // Short rows are joined, so that their words are looked up many at a time.
    std::int64_t size = 0;
    std::int64_t to = from;
    while (to < count && !begins_in_ideograph(rows[to]) && size + rows[to].size < kJoined) {
      size += rows[to++].size + 1;
    }
    if (to - from < 2 || !sets_.spaces.holds(' ')) {
      const std::int64_t before = out->size();
      encode(rows[from], worker, out);
      id_counts[from++] = out->size() - before;
      continue;
    }
    std::uint8_t* const text = worker.text.room(size);
    std::uint8_t* place = text;
    row_ends.clear();
    for (std::int64_t row = from; row < to; ++row) {
      place = std::copy(rows[row].data, rows[row].data + rows[row].size, place);
      row_ends.push_back(place - text);
      *place++ = ' ';
    }
    run({{text, size}, row_ends.data(), to - from}, worker, out, id_counts + from);
    from = to;
  }
}

}  // namespace tokfrag
