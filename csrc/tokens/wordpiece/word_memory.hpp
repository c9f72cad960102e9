// The ids of words, remembered: for models whose words are encoded by something slower.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace tokfrag {

// Not for two threads at a time. Cost: a lookup is a hash of the word and one comparison; memory is
// bounded, all words being forgotten when there are too many.
class WordMemory {
 public:
  static constexpr std::int64_t kLongest = 64;  // bytes; longer words are not remembered
  static constexpr std::int64_t kMostWords = std::int64_t{1} << 16;

  WordMemory();

  // Appends the ids of a word; false if it is not known.
  bool find(std::string_view word, std::vector<std::uint32_t>* ids) const;
  // Remembers the ids of a word that is not known, if it is short.
  void insert(std::string_view word, const std::uint32_t* ids, std::int64_t count);

  std::int64_t size() const { return count_; }

 private:
  struct Slot {
    std::uint64_t hash;
    std::uint32_t text;    // where it begins in text_
    std::uint32_t ids;     //   and in ids_
    std::uint32_t length;  // 0: a free slot
    std::uint32_t id_count;
  };

  std::uint64_t place_of(std::string_view word, std::uint64_t hash) const;
  void clear();

  std::vector<Slot> slots_;  // a power of two, at most half full
  std::vector<char> text_;
  std::vector<std::uint32_t> ids_;
  std::int64_t count_ = 0;
};

}  // namespace tokfrag
