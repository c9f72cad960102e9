#include "tokens/word_cache.hpp"

#include <algorithm>

namespace tokfrag {

WordCache::WordCache(const Vocabulary& vocabulary) : vocabulary_(&vocabulary) {
  std::int64_t entries = 1 << 12;
  while (entries < 3 * vocabulary.size() && entries < kMaxEntries) entries *= 2;
  reset(entries);
}

void WordCache::reset(std::int64_t entries) {
  if (entries_.size() == entries * static_cast<std::int64_t>(sizeof(Entry))) {
    std::memset(entries_.data(), 0, static_cast<std::size_t>(entries_.size()));
  } else {
    entries_ = HugeBuffer();
    entries_ = HugeBuffer(entries * static_cast<std::int64_t>(sizeof(Entry)));
    std::memset(entries_.data(), 0, static_cast<std::size_t>(entries_.size()));
  }
  line_mask_ = static_cast<std::uint64_t>(entries / 2 - 1);
  used_ = 0;
  spill_.clear();
  for (Symbol symbol = 0; symbol < vocabulary_->size(); ++symbol) {
    const std::int64_t length = vocabulary_->length(symbol);
    if (length > WordKey::kMaxLength) continue;
    // Half of the space, at most, is for the vocabulary; a larger one fills in as it is met.
    if (used_ * 2 > entries) break;
    const WordKey key = word_key(vocabulary_->bytes(symbol), length);
    place({key, {vocabulary_->id(symbol) | kSeed, 0, 0, 1u << 28}}, key.hash());
  }
}

WordCache::Entry* WordCache::find(const WordKey& key, std::uint64_t hash) const {
  for (std::uint64_t step = 0; step < kReach; ++step) {
    Entry* entry = line(hash + step);
    if (entry[0].has(key)) return entry;
    if (entry[1].has(key)) return entry + 1;
    if (entry[1].key.high == 0) return nullptr;
  }
  return nullptr;
}

bool WordCache::place(const Entry& entry, std::uint64_t hash) {
  for (std::uint64_t step = 0; step < kReach; ++step) {
    Entry* there = line(hash + step);
    for (int i = 0; i < 2; ++i) {
      if (there[i].key.high == 0) {
        there[i] = entry;
        ++used_;
        return true;
      }
    }
  }
  return false;
}

void WordCache::grow() {
  const std::int64_t entries = static_cast<std::int64_t>(line_mask_ + 1) * 2;
  if (entries >= kMaxEntries || static_cast<std::int64_t>(spill_.size()) > kMaxSpill) {
    reset(entries);
    return;
  }
  const HugeBuffer old = std::move(entries_);
  entries_ = HugeBuffer(old.size() * 2);
  std::memset(entries_.data(), 0, static_cast<std::size_t>(entries_.size()));
  line_mask_ = line_mask_ * 2 + 1;
  used_ = 0;
  for (std::int64_t i = 0; i < entries; ++i) {
    const Entry& entry = old.as<Entry>()[i];
    if (entry.key.high != 0) place(entry, entry.key.hash());
  }
}

void WordCache::insert(const WordKey& key, std::uint64_t hash, const std::uint32_t* ids,
                       std::int64_t count) {
  if (static_cast<std::int64_t>(spill_.size()) > kMaxSpill) grow();
  Entry entry{key, {0, 0, 0, 0}};
  if (count <= 4) {
    for (std::int64_t i = 0; i < count; ++i) entry.ids[i] = ids[i];
    entry.ids[3] |= static_cast<std::uint32_t>(count) << 28;
  } else {
    entry.ids[0] = static_cast<std::uint32_t>(spill_.size());
    entry.ids[1] = static_cast<std::uint32_t>(count);
    entry.ids[3] = kSpilled << 28;
    spill_.insert(spill_.end(), ids, ids + count);
  }
  if (Entry* there = find(key, hash)) {
    *there = entry;
    return;
  }
  if (used_ * 4 > static_cast<std::int64_t>(line_mask_ + 1) * 2 * 3) {
    grow();
    if (count > 4) return;  // its ids may be gone from the spill: it comes again
  }
  if (!place(entry, hash)) line(hash)[hash >> 63] = entry;
}

}  // namespace tokfrag
