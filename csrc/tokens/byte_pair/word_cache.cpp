#include "tokens/byte_pair/word_cache.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tokfrag {

namespace {

template <class T>
HugeBuffer zeroed(std::int64_t count) {
  return HugeBuffer::zeros(count * static_cast<std::int64_t>(sizeof(T)));
}

std::uint64_t hash_of(const WordEntry& entry) {
  return hash_key({entry.key.low, entry.key.high & ~kSpilled});
}

void spill(const std::uint32_t* ids, std::int64_t count, std::vector<std::uint32_t>* spilled) {
  spilled->insert(spilled->end(), ids, ids + count);
  while (spilled->size() % kSpillStep != 0) spilled->push_back(0);
}

}  // namespace

void WordCache::reset(std::int64_t entries) {
  const std::int64_t bytes = entries * static_cast<std::int64_t>(sizeof(WordEntry));
  if (entries_.size() == bytes) {
    std::memset(entries_.data(), 0, static_cast<std::size_t>(bytes));
  } else {
    entries_ = HugeBuffer();
    entries_ = zeroed<WordEntry>(entries);
  }
  line_mask_ = static_cast<std::uint64_t>(bytes - 1) & ~std::uint64_t{63};
  used_ = 0;
  spill_.clear();
}

// Where a word is; null: nowhere. No place is ever free again, so that a free one ends the search.
WordEntry* WordCache::locate(const WordKey& key, std::uint64_t hash, int* step) const {
  for (*step = 0; *step < kReach; ++*step) {
    WordEntry* const entry = line(hash, *step);
    if (is_of(entry[0], key)) return entry;
    if (is_of(entry[1], key)) return entry + 1;
    if (entry[1].key.high == 0) return nullptr;
  }
  return nullptr;
}

// Whether a search for this entry's word would come by a place.
bool WordCache::reaches(const WordEntry& entry, const WordEntry* place) const {
  const std::uint64_t hash = hash_of(entry);
  for (int step = 0; step < kReach; ++step) {
    const WordEntry* const there = line(hash, step);
    if (place == there || place == there + 1) return true;
  }
  return false;
}

const WordEntry* WordCache::find_further(const WordKey& key, std::uint64_t hash) {
  int step = 0;
  WordEntry* const found = locate(key, hash, &step);
  if (found == nullptr || step == 0) return found;
  WordEntry* const home = line(hash, 0);
  for (int i = 1; i >= 0; --i) {
    if (reaches(home[i], found)) {
      std::swap(home[i], *found);
      return home + i;
    }
  }
  return found;
}

bool WordCache::place(const WordEntry& entry, std::uint64_t hash) {
  for (int step = 0; step < kReach; ++step) {
    WordEntry* const there = line(hash, step);
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
  const std::int64_t entries = entries_.size() / static_cast<std::int64_t>(sizeof(WordEntry));
  if (entries >= kMaxEntries || static_cast<std::int64_t>(spill_.size()) > kMaxSpill) {
    reset(entries);
    return;
  }
  const HugeBuffer old = std::exchange(entries_, zeroed<WordEntry>(entries * 4));
  line_mask_ = static_cast<std::uint64_t>(entries_.size() - 1) & ~std::uint64_t{63};
  used_ = 0;
  for (std::int64_t i = 0; i < entries; ++i) {
    const WordEntry& entry = old.as<WordEntry>()[i];
    if (entry.key.high != 0) place(entry, hash_of(entry));
  }
}

void WordCache::insert(const WordKey& key, std::uint64_t hash, const std::uint32_t* ids,
                       std::int64_t count) {
  // While there is room for more, a third of the places: most words are then alone in their lines.
  const std::int64_t entries = entries_.size() / static_cast<std::int64_t>(sizeof(WordEntry));
  const std::int64_t most = entries < kMaxEntries ? entries / 3 : entries / 4 * 3;
  if (used_ > most || static_cast<std::int64_t>(spill_.size()) > kMaxSpill) grow();
  WordEntry entry{key, {0, 0, 0, 0}};
  if (count < 4 || (count == 4 && ids[3] <= kLastIdMask)) {
    for (std::int64_t i = 0; i < count; ++i) entry.ids[i] = ids[i];
    entry.ids[3] |= static_cast<std::uint32_t>(count) << 24;
  } else {
    entry.key.high |= kSpilled;
    entry.ids[0] = static_cast<std::uint32_t>(spill_.size());
    entry.ids[1] = static_cast<std::uint32_t>(count);
    spill(ids, count, &spill_);
  }
  int step = 0;
  if (WordEntry* const there = locate(key, hash, &step)) {
    *there = entry;
  } else if (!place(entry, hash)) {
    line(hash, 0)[1] = entry;
  }
}

std::int64_t WordCache::copy_ids(const WordEntry& entry, std::uint32_t* ids) const {
  if (is_spilled(entry)) {
    const std::uint32_t* const from = spill_.data() + entry.ids[0];
    std::copy(from, from + entry.ids[1], ids);
    return entry.ids[1];
  }
  const unsigned count = id_count(entry);
  for (unsigned i = 0; i < count; ++i) ids[i] = i < 3 ? entry.ids[i] : entry.ids[i] & kLastIdMask;
  return count;
}

const LongWord* LongWordCache::find(const std::uint8_t* text, std::int64_t length,
                                    std::uint64_t unit) const {
  if (words_.size() == 0) return nullptr;
  std::uint64_t key[8];
  make_long_key(text, length, unit, key);
  const LongWord* const pair = words_.as<LongWord>() + (hash_long_key(key) & mask_);
  for (int i = 0; i < 2; ++i) {
    if (std::memcmp(pair[i].key, key, sizeof key) == 0) return pair + i;
  }
  return nullptr;
}

void LongWordCache::put(const LongWord& word) {
  LongWord* const pair = words_.as<LongWord>() + (hash_long_key(word.key) & mask_);
  if (pair[0].count != 0) pair[1] = pair[0];
  pair[0] = word;
}

void LongWordCache::grow() {
  const std::int64_t words = words_.size() / static_cast<std::int64_t>(sizeof(LongWord));
  added_ = 0;
  if (words >= kMaxWords) return;
  const std::int64_t more = words == 0 ? kFirstWords : words * 4;
  const HugeBuffer old = std::exchange(words_, zeroed<LongWord>(more));
  mask_ = static_cast<std::uint64_t>(more - 1) & ~std::uint64_t{1};
  for (std::int64_t i = words; i-- > 0;) {
    const LongWord& word = old.as<LongWord>()[i];
    if (word.count == 0) continue;
    put(word);
    ++added_;
  }
}

void LongWordCache::insert(const std::uint8_t* text, std::int64_t length, std::uint64_t unit,
                           const std::uint32_t* ids, std::int64_t count) {
  if (static_cast<std::int64_t>(spill_.size()) > kMaxSpill) {
    std::memset(words_.data(), 0, static_cast<std::size_t>(words_.size()));
    spill_.clear();
  }
  if (added_ * 3 >= words_.size() / static_cast<std::int64_t>(sizeof(LongWord))) grow();
  LongWord word{};
  make_long_key(text, length, unit, word.key);
  if (count > LongWord::kMaxIds) {
    word.ids[0] = static_cast<std::uint32_t>(spill_.size());
    spill(ids, count, &spill_);
  } else {
    std::copy(ids, ids + count, word.ids);
  }
  word.count = static_cast<std::uint32_t>(count);
  put(word);
  ++added_;
}

bool SeenWords::again(std::uint64_t hash) {
  if (bits_.empty()) bits_.resize(kBits / 64);
  if (count_ * 4 > kBits) {
    std::fill(bits_.begin(), bits_.end(), 0);
    count_ = 0;
  }
  // The low bits choose lines of the cache, in which words are told apart anyway.
  const std::uint64_t at = hash >> 32 & (kBits - 1);
  const std::uint64_t bit = std::uint64_t{1} << (at & 63);
  if ((bits_[at / 64] & bit) != 0) return true;
  bits_[at / 64] |= bit;
  ++count_;
  return false;
}

}  // namespace tokfrag
