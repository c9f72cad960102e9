// Many short texts at once: cut in one scan where that is safe, and their words looked up together.
//
// A lookup packs its words and asks for their memory before it needs any. With the ten words of one
// row there is little to do while that memory comes; with those of ten rows there is enough.
//
// A scanner takes as long to begin as to read sixty bytes. So it reads on over the newline between
// two rows where every family begins a piece behind it, whatever comes before and after, and cuts
// before it as at the end of a text: between something visible and a letter.

#include "core/interrupt.hpp"
#include "tokens/byte_pair/encoder.hpp"

namespace tokfrag {

namespace {

bool in_range(int byte, int first, int last) { return byte >= first && byte <= last; }

bool is_ascii_letter(int byte) { return in_range(byte | 0x20, 'a', 'z'); }

// Whether these bytes are a letter that every version of Unicode knows as one: Cyrillic, kana, most
// ideographs and Hangul.
bool is_plain_letter(int first, int second, int third) {
  if (first == 0xE3) {
    if (second == 0x81) return third >= 0x81;
    if (second == 0x82) return in_range(third, 0x80, 0x96) || third >= 0xA1;
    return second == 0x83 && third <= 0xBA;
  }
  return (in_range(first, 0xE5, 0xE8) || in_range(first, 0xEB, 0xEC)) &&
         in_range(second, 0x80, 0xBF) && in_range(third, 0x80, 0xBF);
}

bool is_cyrillic_letter(int first, int second) {
  return (first == 0xD0 && in_range(second, 0x90, 0xBF)) ||
         (first == 0xD1 && in_range(second, 0x80, 0x8F));
}

bool is_wide_stop(int first, int second, int third) {
  if (first == 0xE3) return second == 0x80 && in_range(third, 0x81, 0x82);
  return first == 0xEF && second == 0xBC &&
         (third == 0x81 || third == 0x8C || third == 0x9A || third == 0x9B || third == 0x9F);
}

bool begins_with_letter(const std::uint8_t* begin, const std::uint8_t* end) {
  if (end - begin >= 1 && is_ascii_letter(begin[0])) return true;
  if (end - begin >= 2 && is_cyrillic_letter(begin[0], begin[1])) return true;
  return end - begin >= 3 && is_plain_letter(begin[0], begin[1], begin[2]);
}

bool ends_visibly(const std::uint8_t* begin, const std::uint8_t* end) {
  if (end - begin >= 1 && in_range(end[-1], '!', '~')) return true;
  if (end - begin >= 2 && is_cyrillic_letter(end[-2], end[-1])) return true;
  return end - begin >= 3 &&
         (is_plain_letter(end[-3], end[-2], end[-1]) || is_wide_stop(end[-3], end[-2], end[-1]));
}

// The pieces of rows, some at a time: where each ends, and which of them end a row. The newline
// behind a row is given as a piece of its own.
class RowPieces {
 public:
  RowPieces(PatternFamily family, const std::uint8_t* text, const std::int64_t* row_ends,
            std::int64_t rows)
      : family_(family), text_(text), row_ends_(row_ends), rows_(rows), scanner_(family, text, 0) {
    if (rows > 0) begin_scan();
  }

  bool over() const { return row_ == rows_; }

  // Writes ends (offsets into the text) to ends[0..capacity) and returns how many. Row
  // first_row() + i ends behind row_pieces()[i] of these pieces, and its newline is the next.
  int next(std::int64_t* ends, int capacity) {
    first_row_ = row_;
    ended_ = 0;
    int count = 0;
    while (row_ < rows_ && ended_ < kMostRows) {
      const std::int64_t row_end = row_ends_[row_];
      while (last_ < row_end) {
        if (count + 2 > capacity) return count;
        count = take(row_end, ends, count, capacity);
      }
      if (count == capacity) return count;
      row_pieces_[ended_++] = count;
      ends[count++] = row_end + 1;
      last_ = row_end + 1;
      if (++row_ < rows_ && row_ == scan_rows_end_) begin_scan();
    }
    return count;
  }
  std::int64_t first_row() const { return first_row_; }
  int rows_ended() const { return ended_; }
  const int* row_pieces() const { return row_pieces_; }

 private:
  static constexpr int kFound = 192;
  static constexpr int kMostRows = 192;  // that end in one call

  std::int64_t row_begin(std::int64_t row) const { return row == 0 ? 0 : row_ends_[row - 1] + 1; }

  // Whether a scan reads on from the row before into this one. Families that cut at blanks alone
  // may take a newline for a part of a word.
  bool goes_on(std::int64_t row) const {
    if (static_cast<int>(family_) >= kLetterFamilies) return false;
    const std::uint8_t* const begin = text_ + row_begin(row);
    return begins_with_letter(begin, text_ + row_ends_[row]) &&
           ends_visibly(text_ + row_begin(row - 1), begin - 1);
  }

  void begin_scan() {
    last_ = base_ = row_begin(row_);
    scan_rows_end_ = row_ + 1;
    while (scan_rows_end_ < rows_ && goes_on(scan_rows_end_)) ++scan_rows_end_;
    scanner_ = Scanner(family_, text_ + base_, row_ends_[scan_rows_end_ - 1] - base_);
    at_ = found_ = 0;
  }

  // Gives out what is found of a row.
  int take(std::int64_t row_end, std::int64_t* ends, int count, int capacity) {
    if (at_ == found_) {
      found_ = static_cast<int>(scanner_.next(buffer_, kFound));
      at_ = 0;
    }
    // Where the row begins ends the newline before it, which has been given.
    at_ += base_ + buffer_[at_] == last_;
    while (at_ < found_ && count + 2 <= capacity) {
      const std::int64_t end = base_ + buffer_[at_];
      if (end >= row_end) {
        // Of a piece that takes the newline, the part before it.
        at_ += end == row_end;
        ends[count++] = last_ = row_end;
        return count;
      }
      ends[count++] = last_ = end;
      ++at_;
    }
    return count;
  }

  PatternFamily family_;
  const std::uint8_t* text_;
  const std::int64_t* row_ends_;
  std::int64_t rows_;
  Scanner scanner_;
  std::int64_t base_ = 0;           // where the scan begins in the text
  std::int64_t scan_rows_end_ = 0;  // the row with which it ends, and one more
  std::int64_t last_ = 0;           // where the last piece ends that was given
  std::int64_t row_ = 0;
  std::int64_t first_row_ = 0;
  int at_ = 0;
  int found_ = 0;
  int ended_ = 0;
  int row_pieces_[kMostRows];
  std::int64_t buffer_[kFound];
};

}  // namespace

void Encoder::encode_rows(const std::uint8_t* text, const std::int64_t* row_ends, std::int64_t rows,
                          Worker& worker, TokenBuffer* out, std::int64_t* counts) const {
  const std::uint64_t unit = whole_pieces_ ? 0 : kUnit;
  const WordLookup& lookup = word_lookup_kernels();
  std::int64_t ends[kChunk];
  PackedWord packed[kChunk];
  WordTables tables;
  RowPieces pieces(*family_, text, row_ends, rows);
  WordRun words{text, rows > 0 ? row_ends[rows - 1] + 1 : 0, 0, ends};
  out->reserve_more(words.size / 2 + WordLookup::kMostOver);
  std::int64_t row_begin = out->size();  // of the row that has not ended, among the ids
  while (!pieces.over()) {
    const int count = pieces.next(ends, kChunk);
    out->reserve_more(ends[count - 1] - words.begin + WordLookup::kMostOver);
    std::uint32_t* cursor = out->data() + out->size();
    worker.tables(&tables);
    lookup.pack(words, 0, count, unit, tables, packed);
    bool learned = false;
    int at = 0;
    const auto encode_to = [&](int stop) {
      while (at < stop) {
        at = lookup.emit(words, packed, at, stop, unit, tables, &cursor);
        if (at == stop) return;
        if (!learned && is_new(words, packed, at, unit, worker)) {
          // Where one word is new, others are.
          learn_words(words, packed, at, count, unit, worker);
          learned = true;
        }
        encode_piece(words, at, unit, worker, &cursor);
        worker.tables(&tables);  // which may have moved
        ++at;
      }
    };
    for (int i = 0; i < pieces.rows_ended(); ++i) {
      encode_to(pieces.row_pieces()[i]);
      const std::int64_t row_end = cursor - out->data();
      counts[pieces.first_row() + i] = row_end - row_begin;
      row_begin = row_end;
      ++at;  // the newline
    }
    encode_to(count);
    out->set_size(cursor - out->data());
    words.begin = ends[count - 1];
    poll_interrupt();
  }
  worker.merge.trim();
}

}  // namespace tokfrag
