#include "tokens/byte_pair/vocabulary.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace tokfrag {

namespace {

std::uint64_t hash_bytes(const std::uint8_t* text, std::int64_t length) {
  std::uint64_t hash = 0;
  for (std::int64_t i = 0; i < length; ++i) hash = hash * kHashBase + text[i] + 1;
  return mix_hash(hash);
}

// Whether two byte strings are the same; most are brief.
bool same_bytes(const std::uint8_t* a, const std::uint8_t* b, std::int64_t length) {
  if (length < 8 || length > 16) {
    return std::memcmp(a, b, static_cast<std::size_t>(length)) == 0;
  }
  std::uint64_t first[2];
  std::uint64_t last[2];
  std::memcpy(first, a, 8);
  std::memcpy(first + 1, b, 8);
  std::memcpy(last, a + length - 8, 8);
  std::memcpy(last + 1, b + length - 8, 8);
  return ((first[0] ^ first[1]) | (last[0] ^ last[1])) == 0;
}

[[noreturn]] void refuse(const std::string& what, std::int64_t token = -1) {
  throw VocabularyError(what, token);
}

}  // namespace

Vocabulary::Vocabulary(std::string bytes, std::vector<std::int64_t> offsets,
                       std::vector<std::uint32_t> ids)
    : bytes_(std::move(bytes)), offsets_(std::move(offsets)), ids_(std::move(ids)) {
  check_tokens();
  const std::int64_t count = size();
  std::size_t capacity = 1024;
  while (capacity < static_cast<std::size_t>(count) * 2) capacity *= 2;
  slots_.assign(capacity, Slot{0, kNoSymbol});
  // Four bits a place, from eight to sixteen a token.
  filter_shift_ = 62 - __builtin_ctzll(capacity);
  filter_.assign(capacity / 16, 0);
  std::vector<std::uint64_t> hashes(static_cast<std::size_t>(count));
  constexpr std::int64_t kAhead = 16;  // whose places in the table are asked for
  for (std::int64_t i = 0; i < count; ++i) {
    const auto symbol = static_cast<Symbol>(i);
    const std::int64_t length_here = length(symbol);
    max_length_ = std::max(max_length_, length_here);
    hashes[symbol] = hash_bytes(this->bytes(symbol), length_here);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const auto symbol = static_cast<Symbol>(i);
    const std::int64_t length_here = length(symbol);
    const std::uint64_t hash = hashes[symbol];
    if (i + kAhead < count) prefetch(hashes[symbol + kAhead]);
    if (find(this->bytes(symbol), length_here, hash) != kNoSymbol) {
      refuse("the token is there twice", i);
    }
    std::size_t at = hash & (capacity - 1);
    while (slots_[at].symbol != kNoSymbol) at = (at + 1) & (capacity - 1);
    slots_[at] = {static_cast<std::uint32_t>(hash >> 32), symbol};
    filter_[hash >> filter_shift_ >> 6] |= 1ull << (hash >> filter_shift_ & 63);
  }
  ids_are_symbols_ = 1;
  for (Symbol symbol = 0; symbol < size(); ++symbol) {
    if (ids_[symbol] != symbol) ids_are_symbols_ = 0;
  }
  std::vector<std::uint32_t> sorted(ids_);
  if (!std::is_sorted(sorted.begin(), sorted.end())) std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) refuse("id " + std::to_string(*twice) + " is there twice");
  for (int byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<std::uint8_t>(byte);
    byte_symbols_[byte] = find(&value, 1);
    if (byte_symbols_[byte] == kNoSymbol) {
      refuse("no token for the single byte " + std::to_string(byte) +
             "; text that holds it could not be encoded");
    }
  }
}

void Vocabulary::check_tokens() const {
  const std::int64_t count = size();
  if (count > kMaxSymbols) {
    refuse(std::to_string(count) + " tokens, at most " + std::to_string(kMaxSymbols) +
           " are supported");
  }
  if (offsets_.size() != ids_.size() + 1 || offsets_.front() != 0 ||
      offsets_.back() != static_cast<std::int64_t>(bytes_.size())) {
    refuse("offsets: take one more than there are ids, from 0 to the number of bytes");
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const auto symbol = static_cast<Symbol>(i);
    if (offsets_[symbol + 1] == offsets_[symbol]) refuse("the token is empty", i);
    if (offsets_[symbol + 1] < offsets_[symbol]) refuse("offsets: do not ascend", i);
    if (ids_[symbol] > kMaxId) {
      refuse("id " + std::to_string(ids_[symbol]) + " is above the largest supported, " +
                 std::to_string(kMaxId),
             i);
    }
  }
}

bool Vocabulary::is_sound() const {
  try {
    check_tokens();
  } catch (const VocabularyError&) {
    return false;
  }
  std::int64_t longest = 0;
  for (Symbol symbol = 0; symbol < size(); ++symbol) longest = std::max(longest, length(symbol));
  if (longest != max_length_) return false;
  for (const Symbol symbol : byte_symbols_) {
    if (symbol >= size()) return false;
  }
  // A search ends at a free place.
  if (slots_.empty() || (slots_.size() & (slots_.size() - 1)) != 0) return false;
  if (filter_.size() != slots_.size() / 16 ||
      filter_shift_ != 62 - __builtin_ctzll(slots_.size())) {
    return false;
  }
  std::uint64_t free = 0;
  std::uint64_t beyond = 0;
  for (const Slot& slot : slots_) {
    const std::uint64_t is_free = slot.symbol == kNoSymbol;
    free += is_free;
    beyond += static_cast<std::uint64_t>(slot.symbol >= size()) & (is_free ^ 1);
  }
  return free > 0 && beyond == 0;
}

std::uint64_t Vocabulary::hash_of(const std::uint8_t* text, std::int64_t length) {
  return hash_bytes(text, length);
}

Symbol Vocabulary::find(const std::uint8_t* text, std::int64_t length) const {
  if (length > max_length_) return kNoSymbol;
  return find(text, length, hash_bytes(text, length));
}

Symbol Vocabulary::find(const std::uint8_t* text, std::int64_t length,
                        std::uint64_t mixed_hash) const {
  const std::size_t mask = slots_.size() - 1;
  const auto tag = static_cast<std::uint32_t>(mixed_hash >> 32);
  for (std::size_t at = mixed_hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.symbol == kNoSymbol) return kNoSymbol;
    if (slot.tag == tag && this->length(slot.symbol) == length &&
        same_bytes(bytes(slot.symbol), text, length)) {
      return slot.symbol;
    }
  }
}

}  // namespace tokfrag
