// Two passes over a batch of words: the first makes keys and asks for the cache lines, the second,
// when these have come, compares keys and writes four ids at once, of which the entry says how many
// count. The only branch that depends on the data is "not found".

#include "tokens/byte_pair/word_lookup.hpp"

#include <cstdint>
#include <cstring>

namespace tokfrag {

namespace {

// A window on these, ending where the length begins: `length` bytes kept, the rest cleared.
alignas(32) constexpr std::uint8_t kKept[32] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                                0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

constexpr WordKey kNoKey{0, ~0ull};

std::uint64_t load(const std::uint8_t* from) {
  std::uint64_t value;
  std::memcpy(&value, from, 8);
  return value;
}

// The key of a word that may be too long; reads 16 bytes.
WordKey wide_key(const std::uint8_t* text, std::int64_t length, std::uint64_t unit) {
  if (__builtin_expect(length > kMaxWord, 0)) return kNoKey;
  const std::uint8_t* kept = kKept + 16 - length;
  const std::uint64_t mark = unit | static_cast<std::uint64_t>(length) << 56;
  return {load(text) & load(kept), (load(text + 8) & load(kept + 8)) | mark};
}

template <bool kUnits>
bool pack_all(const std::uint8_t* text, std::int64_t size, std::int64_t begin,
              const std::int64_t* ends, const bool* units, int count, WordLines lines,
              PackedWord* words) {
  // Only words near the end of the text lack sixteen bytes to read.
  int wide = count;
  while (wide > 0 && (wide > 1 ? ends[wide - 2] : begin) + 16 > size) --wide;
  bool to_split = false;
  for (int i = 0; i < count; ++i) {
    const std::int64_t end = ends[i];
    const std::int64_t length = end - begin;
    if (!kUnits) to_split |= worth_splitting(text + begin, length);
    const std::uint64_t unit = kUnits && units[i] ? kUnit : 0;
    WordKey key;
    if (__builtin_expect(i < wide, 1)) {
      key = wide_key(text + begin, length, unit);
    } else {
      key = length > kMaxWord ? kNoKey : word_key(text + begin, length, unit);
    }
    const std::uint64_t hash = hash_key(key);
    words[i].key = key;
    words[i].hash = hash;
    __builtin_prefetch(lines.entries + (hash & lines.line_mask) * 2);
    begin = end;
  }
  return to_split;
}

bool pack(const std::uint8_t* text, std::int64_t size, std::int64_t begin, const std::int64_t* ends,
          const bool* units, int count, WordLines lines, PackedWord* words) {
  if (units == nullptr) {
    return pack_all<false>(text, size, begin, ends, units, count, lines, words);
  }
  return pack_all<true>(text, size, begin, ends, units, count, lines, words);
}

int emit(const PackedWord* words, int from, int count, WordLines lines, std::uint32_t** cursor) {
  std::uint32_t* out = *cursor;
  int i = from;
  for (; i < count; ++i) {
    const WordEntry* entry = lines.entries + (words[i].hash & lines.line_mask) * 2;
    const bool first = same_key(entry[0].key, words[i].key);
    const bool second = same_key(entry[1].key, words[i].key);
    entry += second;
    const unsigned ids = id_count(*entry);
    if (__builtin_expect(!(first | second) | (ids == kSpilled), 0)) break;
    std::uint64_t pairs[2];
    std::memcpy(pairs, entry->ids, sizeof pairs);
    pairs[1] &= std::uint64_t{kIdMask} << 32 | 0xFFFFFFFFu;
    std::memcpy(out, pairs, sizeof pairs);
    out += ids;
  }
  *cursor = out;
  return i;
}

}  // namespace

namespace TOKFRAG_ISA {

extern const WordLookup word_lookup = {&pack, &emit};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
