// How often each distinct word occurs: what byte-pair training needs of a corpus.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace tokfrag {

// Word -> 64-bit count, open-addressed, in the order of hashes, so that two tables are merged in
// one walk along both. Words of up to 15 bytes are their own key, held in the slot; longer ones lie
// in an arena, their slots hold a hash. Throws std::overflow_error where a count exceeds 63 bits.
class WordTable {
 public:
  struct Word {
    std::string_view text;
    std::int64_t count;
  };

  WordTable();
  // `readable`: bytes that may be read from word->data() on; at least its size.
  void add(std::string_view word, std::int64_t count, std::int64_t readable);
  void add(std::string_view word, std::int64_t count) {
    add(word, count, static_cast<std::int64_t>(word.size()));
  }
  // The pieces of `text` that end at `ends`, the first of which begins at `begin`: one more of
  // each.
  void add_pieces(std::string_view text, std::int64_t begin, const std::int64_t* ends,
                  std::int64_t n_ends);
  // All or nothing: where it throws (std::overflow_error, std::bad_alloc, Ctrl-C), no count has
  // changed.
  void merge(const WordTable& other);

  std::int64_t size() const { return n_short_ + static_cast<std::int64_t>(long_words_); }
  std::int64_t total() const;  // the sum of the counts; throws std::overflow_error
  std::int64_t bytes() const;  // the sum of count * length; throws std::overflow_error
  std::int64_t memory() const;
  // visit(text, count), in no particular order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const ShortSlot& slot : short_) {
      if (slot.count != 0) visit(text_of(slot), slot.count);
    }
    for (const LongSlot& slot : long_) {
      if (slot.count != 0) visit(text_of(slot), slot.count);
    }
  }
  // In byte order; the texts live as long as the table is not changed.
  std::vector<Word> sorted() const;

 private:
  struct ShortSlot {
    std::uint64_t low;   // bytes 0 to 7
    std::uint64_t high;  // bytes 8 to 14, and the length
    std::int64_t count;  // 0: empty
  };
  struct LongSlot {
    std::uint64_t hash;
    std::uint64_t offset;
    std::uint64_t length;
    std::int64_t count;
  };
  static std::string_view text_of(const ShortSlot& slot) {
    return {reinterpret_cast<const char*>(&slot), static_cast<std::size_t>(slot.high >> 56)};
  }
  std::string_view text_of(const LongSlot& slot) const {
    return {arena_.data() + slot.offset, static_cast<std::size_t>(slot.length)};
  }
  std::int64_t count_of(std::string_view word) const;  // 0: not there
  // Room for so many more words, of so many more bytes in the arena.
  void reserve(std::size_t short_words, std::size_t long_words, std::size_t bytes);
  // What a short word is known by.
  struct ShortKey {
    std::uint64_t low;
    std::uint64_t high;
  };
  static ShortKey key_of(std::string_view word, std::int64_t readable);
  static std::uint64_t hash_of(ShortKey key);
  // The slot of a key, or the empty one where it belongs.
  std::size_t find_short(ShortKey key, std::uint64_t hash) const;
  void add_short(ShortKey key, std::uint64_t hash, std::int64_t count);
  void add_long(std::string_view word, std::int64_t count);
  void grow_short();
  void grow_long();

  std::vector<ShortSlot> short_;
  int short_shift_;  // of a hash: what is left is the first slot to look at
  std::int64_t n_short_ = 0;
  std::vector<LongSlot> long_;
  int long_shift_;
  std::size_t long_words_ = 0;
  std::string arena_;
};

// The words of `table` as bytes, and back: for each word in byte order its length and count as
// base-128 numbers, then its text. Reading throws std::invalid_argument on anything else.
std::string pack_words(const WordTable& table);
WordTable unpack_words(std::string_view packed);
void pack_word(const WordTable::Word& word, std::string* packed);

// Reads packed words one by one; throws as unpack_words does.
class PackedReader {
 public:
  explicit PackedReader(std::string_view packed) : packed_(packed) {}
  // False at the end; the word's text lies in what is packed.
  bool next();
  const WordTable::Word& word() const { return word_; }

 private:
  std::string_view packed_;
  std::size_t at_ = 0;
  bool first_ = true;
  WordTable::Word word_{{}, 0};
};

}  // namespace tokfrag
