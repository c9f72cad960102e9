#include "tokens/byte_pair/word_cache.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tokfrag {

namespace {

HugeBuffer zeroed(std::int64_t bytes) {
  HugeBuffer buffer(bytes);
  std::memset(buffer.data(), 0, static_cast<std::size_t>(bytes));
  return buffer;
}

struct LongKey {
  std::uint64_t parts[8];
  std::uint64_t hash;
};

LongKey long_key(const std::uint8_t* text, std::int64_t length, bool unit) {
  LongKey key{};
  std::memcpy(key.parts, text, static_cast<std::size_t>(length));
  key.parts[7] |= (unit ? kUnit : 0) | static_cast<std::uint64_t>(length) << 56;
  for (int i = 0; i < 8; i += 2) {
    key.hash = key.hash * 3 + hash_key({key.parts[i], key.parts[i + 1]});
  }
  return key;
}

}  // namespace

WordCache::WordCache(const Vocabulary& vocabulary, bool seeded)
    : vocabulary_(&vocabulary), seeded_(seeded) {
  std::int64_t entries = 1 << 12;
  while (entries < 3 * vocabulary.size() && entries < kMaxEntries) entries *= 2;
  reset(entries);
}

void WordCache::reset(std::int64_t entries) {
  if (entries_.size() == entries * static_cast<std::int64_t>(sizeof(WordEntry))) {
    std::memset(entries_.data(), 0, static_cast<std::size_t>(entries_.size()));
  } else {
    entries_ = HugeBuffer();
    entries_ = zeroed(entries * static_cast<std::int64_t>(sizeof(WordEntry)));
  }
  line_mask_ = static_cast<std::uint64_t>(entries / 2 - 1);
  used_ = 0;
  spill_.clear();
  holds_all_tokens_ = seeded_;
  for (Symbol symbol = 0; seeded_ && symbol < vocabulary_->size(); ++symbol) {
    const std::int64_t length = vocabulary_->length(symbol);
    if (length > kMaxWord) continue;
    // Half of the space, at most, is for the vocabulary; a larger one fills in as it is met.
    if (used_ * 2 > entries) {
      holds_all_tokens_ = false;
      break;
    }
    const WordKey key = word_key(vocabulary_->bytes(symbol), length, 0);
    if (!place({key, {vocabulary_->id(symbol), 0, 0, 1u << 28}}, hash_key(key))) {
      holds_all_tokens_ = false;
    }
  }
}

WordEntry* WordCache::find(const WordKey& key, std::uint64_t hash) const {
  for (std::uint64_t step = 0; step < kReach; ++step) {
    WordEntry* entry = line(hash + step);
    if (same_key(entry[0].key, key)) return entry;
    if (same_key(entry[1].key, key)) return entry + 1;
    if (entry[1].key.high == 0) return nullptr;
  }
  return nullptr;
}

bool WordCache::place(const WordEntry& entry, std::uint64_t hash) {
  for (std::uint64_t step = 0; step < kReach; ++step) {
    WordEntry* there = line(hash + step);
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
  entries_ = zeroed(old.size() * 2);
  line_mask_ = line_mask_ * 2 + 1;
  used_ = 0;
  for (std::int64_t i = 0; i < entries; ++i) {
    const WordEntry& entry = old.as<WordEntry>()[i];
    if (entry.key.high != 0 && !place(entry, hash_key(entry.key))) holds_all_tokens_ = false;
  }
}

void WordCache::insert(const WordKey& key, std::uint64_t hash, const std::uint32_t* ids,
                       std::int64_t count) {
  if (static_cast<std::int64_t>(spill_.size()) > kMaxSpill) grow();
  WordEntry entry{key, {0, 0, 0, 0}};
  if (count <= 4) {
    for (std::int64_t i = 0; i < count; ++i) entry.ids[i] = ids[i];
    entry.ids[3] |= static_cast<std::uint32_t>(count) << 28;
  } else {
    entry.ids[0] = static_cast<std::uint32_t>(spill_.size());
    entry.ids[1] = static_cast<std::uint32_t>(count);
    entry.ids[3] = kSpilled << 28;
    spill_.insert(spill_.end(), ids, ids + count);
  }
  if (WordEntry* there = find(key, hash)) {
    *there = entry;
    return;
  }
  if (used_ * 4 > static_cast<std::int64_t>(line_mask_ + 1) * 2 * 3) {
    grow();
    if (count > 4) return;  // its ids may be gone from the spill: it comes again
  }
  if (!place(entry, hash)) {
    line(hash)[hash >> 63] = entry;
    holds_all_tokens_ = false;
  }
}

const std::uint32_t* LongWordCache::find(const std::uint8_t* text, std::int64_t length, bool unit,
                                         std::int64_t* count) const {
  if (entries_.size() == 0) return nullptr;
  const LongKey key = long_key(text, length, unit);
  const Entry* pair = entries_.as<Entry>() + (key.hash & (kEntries / 2 - 1)) * 2;
  for (int i = 0; i < 2; ++i) {
    if (std::memcmp(pair[i].key, key.parts, sizeof key.parts) == 0) {
      *count = pair[i].count;
      return pair[i].ids;
    }
  }
  return nullptr;
}

void LongWordCache::insert(const std::uint8_t* text, std::int64_t length, bool unit,
                           const std::uint32_t* ids, std::int64_t count) {
  if (count > kMaxIds) return;
  if (entries_.size() == 0) entries_ = zeroed(kEntries * static_cast<std::int64_t>(sizeof(Entry)));
  const LongKey key = long_key(text, length, unit);
  Entry* pair = entries_.as<Entry>() + (key.hash & (kEntries / 2 - 1)) * 2;
  if (pair[0].count != 0) pair[1] = pair[0];
  std::memcpy(pair[0].key, key.parts, sizeof key.parts);
  std::copy(ids, ids + count, pair[0].ids);
  pair[0].count = static_cast<std::uint32_t>(count);
}

}  // namespace tokfrag
