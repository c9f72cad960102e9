#include "tokens/training/word_counts.hpp"

#include <algorithm>
#include <stdexcept>

#include "core/checked.hpp"
#include "core/interrupt.hpp"

namespace tokfrag {

namespace {

constexpr std::size_t kShortBytes = 15;
constexpr int kFirstBits = 8;
constexpr std::size_t kFirstSlots = std::size_t{1} << kFirstBits;
constexpr std::int64_t kAtOnce = 32;  // pieces whose slots are asked for before any is read
constexpr std::uint64_t kPollEvery = 1 << 16;

std::uint64_t mix(std::uint64_t low, std::uint64_t high) {
  std::uint64_t hash = (low * 0x9e3779b97f4a7c15u) ^ (high * 0xd6e8feb86659fd93u);
  hash ^= hash >> 29;
  hash *= 0xbf58476d1ce4e5b9u;
  return hash ^ hash >> 32;
}

std::uint64_t hash_bytes(std::string_view text) {
  std::uint64_t hash = text.size();
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    hash = mix(hash ^ word, hash);
  }
  std::uint64_t rest = 0;
  std::memcpy(&rest, text.data() + at, text.size() - at);
  return mix(hash ^ rest, hash);
}

void put_number(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

std::uint64_t take_number(std::string_view packed, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0; at < packed.size() && shift < 63; shift += 7) {
    const auto byte = static_cast<unsigned char>(packed[at++]);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw std::invalid_argument("word counts: a number ends too early");
}

}  // namespace

WordTable::WordTable()
    : short_(kFirstSlots),
      short_shift_(64 - kFirstBits),
      long_(kFirstSlots),
      long_shift_(64 - kFirstBits) {}

WordTable::ShortKey WordTable::key_of(std::string_view word, std::int64_t readable) {
  std::uint64_t key[2] = {0, 0};
  if (readable >= 16) {
    // Two whole loads, and the bytes past the word masked off.
    std::memcpy(key, word.data(), 16);
    const auto bits = static_cast<unsigned>(word.size() * 8);
    key[0] &= bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    key[1] &= bits <= 64 ? 0 : (std::uint64_t{1} << (bits - 64)) - 1;
  } else {
    std::memcpy(key, word.data(), word.size());
  }
  return {key[0], key[1] | static_cast<std::uint64_t>(word.size()) << 56};
}

std::uint64_t WordTable::hash_of(ShortKey key) { return mix(key.low, key.high); }

void WordTable::add(std::string_view word, std::int64_t count, std::int64_t readable) {
  if (word.size() > kShortBytes) return add_long(word, count);
  const ShortKey key = key_of(word, readable);
  add_short(key, hash_of(key), count);
}

void WordTable::add_pieces(std::string_view text, std::int64_t begin, const std::int64_t* ends,
                           std::int64_t n_ends) {
  struct Piece {
    ShortKey key;
    std::uint64_t hash;
  };
  Piece pieces[kAtOnce];
  for (std::int64_t done = 0; done < n_ends; done += kAtOnce) {
    const std::int64_t n = std::min(kAtOnce, n_ends - done);
    std::int64_t n_short = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t end = ends[done + i];
      const std::string_view word =
          text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
      if (word.size() > kShortBytes) {
        add_long(word, 1);
      } else {
        Piece& piece = pieces[n_short++];
        piece.key = key_of(word, static_cast<std::int64_t>(text.size()) - begin);
        piece.hash = hash_of(piece.key);
        __builtin_prefetch(&short_[piece.hash >> short_shift_], 1);
      }
      begin = end;
    }
    for (std::int64_t i = 0; i < n_short; ++i) add_short(pieces[i].key, pieces[i].hash, 1);
  }
}

std::size_t WordTable::find_short(ShortKey key, std::uint64_t hash) const {
  const std::size_t mask = short_.size() - 1;
  for (std::size_t at = hash >> short_shift_;; at = (at + 1) & mask) {
    const ShortSlot& slot = short_[at];
    if (slot.count == 0 || (slot.low == key.low && slot.high == key.high)) return at;
  }
}

void WordTable::add_short(ShortKey key, std::uint64_t hash, std::int64_t count) {
  ShortSlot& slot = short_[find_short(key, hash)];
  if (slot.count != 0) {
    slot.count = checked_add(slot.count, count);
    return;
  }
  if (count == 0) return;
  slot = {key.low, key.high, count};
  if (static_cast<std::size_t>(++n_short_) * 8 > short_.size() * 5) grow_short();
}

void WordTable::add_long(std::string_view word, std::int64_t count) {
  if (count == 0) return;
  const std::uint64_t hash = hash_bytes(word);
  const std::size_t mask = long_.size() - 1;
  for (std::size_t at = hash >> long_shift_;; at = (at + 1) & mask) {
    LongSlot& slot = long_[at];
    if (slot.count == 0) {
      slot = {hash, arena_.size(), word.size(), count};
      arena_.append(word);
      if (++long_words_ * 8 > long_.size() * 5) grow_long();
      return;
    }
    if (slot.hash == hash && text_of(slot) == word) {
      slot.count = checked_add(slot.count, count);
      return;
    }
  }
}

std::int64_t WordTable::count_of(std::string_view word) const {
  if (word.size() <= kShortBytes) {
    const ShortKey key = key_of(word, static_cast<std::int64_t>(word.size()));
    return short_[find_short(key, hash_of(key))].count;
  }
  const std::uint64_t hash = hash_bytes(word);
  const std::size_t mask = long_.size() - 1;
  for (std::size_t at = hash >> long_shift_;; at = (at + 1) & mask) {
    const LongSlot& slot = long_[at];
    if (slot.count == 0 || (slot.hash == hash && text_of(slot) == word)) return slot.count;
  }
}

void WordTable::reserve(std::size_t short_words, std::size_t long_words, std::size_t bytes) {
  while ((static_cast<std::size_t>(n_short_) + short_words) * 8 > short_.size() * 5) grow_short();
  while ((long_words_ + long_words) * 8 > long_.size() * 5) grow_long();
  const std::size_t needed = arena_.size() + bytes;
  if (needed > arena_.capacity()) arena_.reserve(std::max(needed, 2 * arena_.capacity()));
}

void WordTable::grow_short() {
  std::vector<ShortSlot> old(short_.size() * 2);
  old.swap(short_);
  --short_shift_;
  for (const ShortSlot& slot : old) {
    if (slot.count == 0) continue;
    const ShortKey key{slot.low, slot.high};
    short_[find_short(key, hash_of(key))] = slot;
  }
}

void WordTable::grow_long() {
  std::vector<LongSlot> old(long_.size() * 2);
  old.swap(long_);
  --long_shift_;
  const std::size_t mask = long_.size() - 1;
  for (const LongSlot& slot : old) {
    if (slot.count == 0) continue;
    std::size_t at = slot.hash >> long_shift_;
    while (long_[at].count != 0) at = (at + 1) & mask;
    long_[at] = slot;
  }
}

void WordTable::merge(const WordTable& other) {
  // All that can fail comes first: sums that are too large, memory, Ctrl-C. Room is made before
  // anything is added: what comes in the order of hashes would pile up in a table that must grow.
  std::size_t short_words = 0;
  std::size_t long_words = 0;
  std::size_t bytes = 0;
  std::uint64_t done = 0;
  other.for_each([&](std::string_view text, std::int64_t count) {
    if (++done % kPollEvery == 0) poll_interrupt();
    const std::int64_t before = count_of(text);
    checked_add(before, count);
    if (before != 0) return;
    ++(text.size() <= kShortBytes ? short_words : long_words);
    if (text.size() > kShortBytes) bytes += text.size();
  });
  reserve(short_words, long_words, bytes);
  other.for_each([&](std::string_view text, std::int64_t count) { add(text, count); });
}

std::int64_t WordTable::total() const {
  std::int64_t sum = 0;
  for_each([&](std::string_view, std::int64_t count) { sum = checked_add(sum, count); });
  return sum;
}

std::int64_t WordTable::bytes() const {
  std::int64_t sum = 0;
  for_each([&](std::string_view text, std::int64_t count) {
    sum = checked_add(sum, checked_multiply(static_cast<std::int64_t>(text.size()), count));
  });
  return sum;
}

std::int64_t WordTable::memory() const {
  return static_cast<std::int64_t>(short_.capacity() * sizeof(ShortSlot) +
                                   long_.capacity() * sizeof(LongSlot) + arena_.capacity());
}

std::vector<WordTable::Word> WordTable::sorted() const {
  std::vector<Word> words;
  words.reserve(static_cast<std::size_t>(size()));
  for_each([&](std::string_view text, std::int64_t count) { words.push_back({text, count}); });
  std::uint64_t compared = 0;
  std::sort(words.begin(), words.end(), [&](const Word& a, const Word& b) {
    if (++compared % kPollEvery == 0) poll_interrupt();
    return a.text < b.text;
  });
  return words;
}

void pack_word(const WordTable::Word& word, std::string* packed) {
  put_number(*packed, word.text.size());
  put_number(*packed, static_cast<std::uint64_t>(word.count));
  packed->append(word.text);
}

std::string pack_words(const WordTable& table) {
  std::string packed;
  std::uint64_t done = 0;
  for (const WordTable::Word& word : table.sorted()) {
    if (++done % kPollEvery == 0) poll_interrupt();
    pack_word(word, &packed);
  }
  return packed;
}

bool PackedReader::next() {
  if (at_ == packed_.size()) return false;
  const std::uint64_t length = take_number(packed_, at_);
  const std::uint64_t count = take_number(packed_, at_);
  if (count == 0) throw std::invalid_argument("word counts: a count of 0");
  if (length > packed_.size() - at_) throw std::invalid_argument("word counts: a word is cut off");
  const std::string_view text = packed_.substr(at_, length);
  if (!first_ && text <= word_.text) throw std::invalid_argument("word counts: not in order");
  first_ = false;
  word_ = {text, static_cast<std::int64_t>(count)};
  at_ += length;
  return true;
}

WordTable unpack_words(std::string_view packed) {
  WordTable table;
  PackedReader reader(packed);
  for (std::uint64_t done = 1; reader.next(); ++done) {
    if (done % kPollEvery == 0) poll_interrupt();
    table.add(reader.word().text, reader.word().count);
  }
  return table;
}

}  // namespace tokfrag
