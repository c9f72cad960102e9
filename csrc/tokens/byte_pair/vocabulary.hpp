// The tokens of a byte-pair vocabulary: their bytes, their ids, and lookup by bytes.
//
// Inside, a token is a symbol: its index in the order it was given. For a vocabulary of ranks
// (tiktoken) that order is the order of merging.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "tokens/byte_pair/pair_view.hpp"

namespace tokfrag {

constexpr Symbol kNoSymbol = 0xFFFFFFFFu;

// What the packed tables leave room for; a constructor throws std::invalid_argument beyond it.
constexpr std::int64_t kMaxSymbols = 1 << 21;
constexpr std::uint32_t kMaxId = (1u << 24) - 1;

// Hashes of all prefixes of a byte string give the hash of any part of it in constant time:
// hash(a..b) = prefix[b] - prefix[a] * power[b - a], modulo 2^64, then mixed.
constexpr std::uint64_t kHashBase = 0x9E3779B97F4A7C15ull;

inline std::uint64_t mix_hash(std::uint64_t hash) {
  hash ^= hash >> 32;
  hash *= 0xD6E8FEB86659FD93ull;
  return hash ^ (hash >> 32);
}

// A fault of one token, by its index; or, with -1, of the whole.
struct VocabularyError : std::invalid_argument {
  VocabularyError(const std::string& what, std::int64_t faulty)
      : std::invalid_argument(what), token(faulty) {}
  std::int64_t token;
};

class Vocabulary {
 public:
  // Empty: to be filled from an archive.
  Vocabulary() = default;
  // Token i is bytes[offsets[i], offsets[i + 1]) and has ids[i]. Throws VocabularyError for offsets
  // that are none, an empty or repeated token, a repeated id, or a single byte that is no token.
  Vocabulary(std::string bytes, std::vector<std::int64_t> offsets, std::vector<std::uint32_t> ids);

  std::int64_t size() const { return static_cast<std::int64_t>(ids_.size()); }
  std::uint32_t id(Symbol symbol) const { return ids_are_symbols_ ? symbol : ids_[symbol]; }
  const std::uint32_t* ids() const { return ids_.data(); }
  const std::uint8_t* bytes(Symbol symbol) const {
    return reinterpret_cast<const std::uint8_t*>(bytes_.data()) + offsets_[symbol];
  }
  std::int64_t length(Symbol symbol) const { return offsets_[symbol + 1] - offsets_[symbol]; }
  Symbol byte_symbol(std::uint8_t byte) const { return byte_symbols_[byte]; }
  const Symbol* byte_symbols() const { return byte_symbols_; }
  std::int64_t max_length() const { return max_length_; }

  // The symbol of a byte string, or kNoSymbol.
  Symbol find(const std::uint8_t* text, std::int64_t length) const;
  // The same, with the hash known.
  Symbol find(const std::uint8_t* text, std::int64_t length, std::uint64_t mixed_hash) const;

  // What `find` takes for the hash of a byte string.
  static std::uint64_t hash_of(const std::uint8_t* text, std::int64_t length);

  // Whether there may be a token of this hash: a small table, asked first where most are none.
  bool may_hold(std::uint64_t mixed_hash) const {
    const std::uint64_t bit = mixed_hash >> filter_shift_;
    return (filter_[bit >> 6] >> (bit & 63) & 1) != 0;
  }
  void prefetch_filter(std::uint64_t mixed_hash) const {
    __builtin_prefetch(&filter_[mixed_hash >> filter_shift_ >> 6]);
  }

  // Asks for the memory that `find` with this hash reads first, second and third; each when the one
  // before has come.
  void prefetch(std::uint64_t mixed_hash) const { __builtin_prefetch(&first_slot(mixed_hash)); }
  void prefetch_place(std::uint64_t mixed_hash) const {
    const Slot& slot = first_slot(mixed_hash);
    if (slot.symbol != kNoSymbol) __builtin_prefetch(&offsets_[slot.symbol]);
  }
  void prefetch_bytes(std::uint64_t mixed_hash) const {
    const Slot& slot = first_slot(mixed_hash);
    if (slot.symbol != kNoSymbol) __builtin_prefetch(bytes(slot.symbol));
  }

  // Whether no lookup reads outside the tables or runs for ever: what an archive is asked for,
  // which may have been made by anybody.
  bool is_sound() const;

  template <class Archive, class Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.bytes_, self.offsets_, self.ids_, self.slots_, self.byte_symbols_,
            self.max_length_, self.filter_, self.filter_shift_, self.ids_are_symbols_);
  }

  const std::string& all_bytes() const { return bytes_; }
  const std::vector<std::int64_t>& all_offsets() const { return offsets_; }
  const std::vector<std::uint32_t>& all_ids() const { return ids_; }

 private:
  struct Slot {
    std::uint32_t tag;
    Symbol symbol;
  };

  const Slot& first_slot(std::uint64_t mixed_hash) const {
    return slots_[mixed_hash & (slots_.size() - 1)];
  }
  // Throws VocabularyError unless offsets are offsets and ids are in range.
  void check_tokens() const;

  std::string bytes_;
  std::vector<std::int64_t> offsets_;
  std::vector<std::uint32_t> ids_;
  std::vector<Slot> slots_;  // open addressing, at most half full
  Symbol byte_symbols_[256] = {};
  std::int64_t max_length_ = 0;
  std::vector<std::uint64_t> filter_;  // a bit for each token at its hash
  int filter_shift_ = 0;
  std::int32_t ids_are_symbols_ = 0;  // 1: no need to read them
};

}  // namespace tokfrag
