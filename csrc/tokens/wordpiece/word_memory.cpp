#include "tokens/wordpiece/word_memory.hpp"

#include <cstring>

namespace tokfrag {

namespace {

constexpr std::size_t kFirstSlots = std::size_t{1} << 10;
constexpr std::size_t kMostIds = std::size_t{1} << 22;

std::uint64_t mix(std::uint64_t value) {
  value *= 0x9E3779B97F4A7C15u;
  return value ^ value >> 32;
}

// Eight bytes at a time, the last ones perhaps twice.
std::uint64_t hash_of(std::string_view word) {
  std::uint64_t hash = mix(word.size());
  const auto take = [&](std::size_t at, std::size_t bytes) {
    std::uint64_t part = 0;
    std::memcpy(&part, word.data() + at, bytes);
    hash = mix(hash ^ part);
  };
  std::size_t at = 0;
  for (; at + 8 <= word.size(); at += 8) take(at, 8);
  if (at < word.size()) take(at, word.size() - at);
  return hash;
}

}  // namespace

WordMemory::WordMemory() : slots_(kFirstSlots) {}

// Where a word is, or would be.
std::uint64_t WordMemory::place_of(std::string_view word, std::uint64_t hash) const {
  const std::uint64_t mask = slots_.size() - 1;
  for (std::uint64_t place = hash & mask;; place = (place + 1) & mask) {
    const Slot& slot = slots_[place];
    if (slot.length == 0) return place;
    if (slot.hash == hash && slot.length == word.size() &&
        std::memcmp(text_.data() + slot.text, word.data(), word.size()) == 0) {
      return place;
    }
  }
}

bool WordMemory::find(std::string_view word, std::vector<std::uint32_t>* ids) const {
  if (word.empty() || word.size() > static_cast<std::size_t>(kLongest)) return false;
  const Slot& slot = slots_[place_of(word, hash_of(word))];
  if (slot.length == 0) return false;
  const auto first = ids_.begin() + slot.ids;
  ids->insert(ids->end(), first, first + slot.id_count);
  return true;
}

void WordMemory::insert(std::string_view word, const std::uint32_t* ids, std::int64_t count) {
  if (word.empty() || word.size() > static_cast<std::size_t>(kLongest)) return;
  if (count_ >= kMostWords || ids_.size() + static_cast<std::size_t>(count) > kMostIds) clear();
  if (static_cast<std::size_t>(count_) * 2 >= slots_.size()) {
    const std::vector<Slot> old = std::move(slots_);
    slots_.assign(old.size() * 2, Slot{});
    const std::uint64_t mask = slots_.size() - 1;
    for (const Slot& slot : old) {
      if (slot.length == 0) continue;
      std::uint64_t place = slot.hash & mask;
      while (slots_[place].length != 0) place = (place + 1) & mask;
      slots_[place] = slot;
    }
  }
  const std::uint64_t hash = hash_of(word);
  Slot& slot = slots_[place_of(word, hash)];
  if (slot.length != 0) return;
  slot = {hash, static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(ids_.size()),
          static_cast<std::uint32_t>(word.size()), static_cast<std::uint32_t>(count)};
  text_.insert(text_.end(), word.begin(), word.end());
  ids_.insert(ids_.end(), ids, ids + count);
  ++count_;
}

void WordMemory::clear() {
  slots_.assign(kFirstSlots, Slot{});
  text_.clear();
  ids_.clear();
  count_ = 0;
}

}  // namespace tokfrag
