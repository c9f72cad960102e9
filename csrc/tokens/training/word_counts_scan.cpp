#include "tokens/training/word_counts_scan.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/interrupt.hpp"
#include "core/parallel.hpp"
#include "tokens/scan/scanner.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kPart = std::int64_t{1} << 18;  // bytes that a thread takes at a time

// Collects the pieces of texts that lie one behind the other, and counts many at a time.
class PieceBatch {
 public:
  PieceBatch(TextView all, WordTable* table)
      : all_(reinterpret_cast<const char*>(all.data), static_cast<std::size_t>(all.size)),
        table_(table) {}

  // The part of the text from `at` on, `size` bytes, is a text of its own.
  void add(PatternFamily family, std::int64_t at, std::int64_t size) {
    Scanner scanner(family, reinterpret_cast<const std::uint8_t*>(all_.data()) + at, size);
    for (;;) {
      if (kEnds - n_ < Scanner::kMinCapacity) flush();
      const std::int64_t n = scanner.next(ends_ + n_, kEnds - n_);
      if (n == 0) return;
      for (std::int64_t i = n_; i < n_ + n; ++i) ends_[i] += at;
      n_ += n;
    }
  }

  // To be called at the end.
  void flush() {
    if (n_ == 0) return;
    poll_interrupt();
    table_->add_pieces(all_, begin_, ends_, n_);
    begin_ = ends_[n_ - 1];
    n_ = 0;
  }

 private:
  static constexpr std::int64_t kEnds = 1024;

  std::string_view all_;
  WordTable* table_;
  std::int64_t begin_ = 0;  // of the first piece not yet counted
  std::int64_t n_ = 0;
  std::int64_t ends_[kEnds];
};

void count_text(PatternFamily family, TextView text, WordTable& table) {
  PieceBatch batch(text, &table);
  batch.add(family, 0, text.size);
  batch.flush();
}

void count_lines(PatternFamily family, TextView text, WordTable& table) {
  PieceBatch batch(text, &table);
  std::int64_t end = 0;
  for (std::int64_t begin = 0; begin < text.size; begin = end) {
    const void* newline =
        std::memchr(text.data + begin, '\n', static_cast<std::size_t>(text.size - begin));
    end =
        newline == nullptr ? text.size : static_cast<const std::uint8_t*>(newline) + 1 - text.data;
    batch.add(family, begin, end - begin);
  }
  batch.flush();
}

bool is_ascii_letter(std::uint8_t byte) { return (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z'; }

// The first place at or after `from` where every family begins a piece, whatever the text around:
// at a space between two ASCII letters. The end of the text if there is none.
std::int64_t cut_after(TextView text, std::int64_t from) {
  for (std::int64_t at = std::max<std::int64_t>(from, 1); at + 1 < text.size; ++at) {
    if (text.data[at] == ' ' && is_ascii_letter(text.data[at - 1]) &&
        is_ascii_letter(text.data[at + 1])) {
      return at;
    }
  }
  return text.size;
}

}  // namespace

template <class Count>
void PieceCounter::run(const std::vector<TextView>& parts, Count count) {
  std::int64_t bytes = 0;
  for (const TextView& part : parts) bytes += part.size;
  const int threads = bytes < kPart / 4 ? 1 : threads_ > 0 ? threads_ : default_threads();
  const auto workers = static_cast<std::size_t>(threads);
  if (tables_.size() < workers) tables_.resize(workers);
  parallel_for(static_cast<std::int64_t>(parts.size()), 1, threads,
               [&](std::int64_t begin, std::int64_t end, int worker) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   count(parts[static_cast<std::size_t>(i)],
                         tables_[static_cast<std::size_t>(worker)]);
                 }
               });
}

void PieceCounter::add_texts(const std::vector<TextView>& texts) {
  std::vector<TextView> parts;
  parts.reserve(texts.size());
  for (TextView text : texts) {
    while (text.size > 2 * kPart) {
      const std::int64_t cut = cut_after(text, kPart);
      parts.push_back({text.data, cut});
      text.data += cut;
      text.size -= cut;
    }
    if (text.size > 0) parts.push_back(text);
  }
  run(parts, [this](TextView part, WordTable& table) { count_text(family_, part, table); });
}

void PieceCounter::add_lines(TextView text) {
  std::vector<TextView> parts;
  while (text.size > 0) {
    std::int64_t cut = std::min(text.size, kPart);
    const void* newline =
        std::memchr(text.data + cut - 1, '\n', static_cast<std::size_t>(text.size - cut + 1));
    cut =
        newline == nullptr ? text.size : static_cast<const std::uint8_t*>(newline) + 1 - text.data;
    parts.push_back({text.data, cut});
    text.data += cut;
    text.size -= cut;
  }
  run(parts, [this](TextView part, WordTable& table) { count_lines(family_, part, table); });
}

std::int64_t PieceCounter::memory() const {
  std::int64_t sum = 0;
  for (const WordTable& table : tables_) sum += table.memory();
  return sum;
}

WordTable PieceCounter::take() {
  WordTable sum;
  for (WordTable& table : tables_) {
    if (table.size() > sum.size()) std::swap(sum, table);
  }
  for (WordTable& table : tables_) {
    sum.merge(table);
    table = WordTable();
  }
  tables_.clear();
  return sum;
}

}  // namespace tokfrag
