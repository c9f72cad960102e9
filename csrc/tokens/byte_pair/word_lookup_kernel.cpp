// Two passes over a batch of words: the first makes keys and asks for the cache lines, the second,
// when these have come, compares keys and writes four ids at once, of which the entry says how many
// count. What is hard to foretell has no branch; what has one is rare: a word that is the second of
// its line (it goes to the front), that is long, or that is not there.

#include "tokens/byte_pair/word_lookup.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace tokfrag {

namespace {

// By length: the bytes of a key that the word fills, and its mark.
struct KeyParts {
  std::uint64_t low[16] = {};
  std::uint64_t high[16] = {};
  std::uint64_t mark[16] = {};
};

constexpr KeyParts key_parts(std::uint64_t unit) {
  KeyParts parts;
  for (unsigned length = 0; length < 16; ++length) {
    parts.low[length] = length < 8 ? (std::uint64_t{1} << 8 * length) - 1 : ~std::uint64_t{0};
    parts.high[length] = length < 8 ? 0 : (std::uint64_t{1} << 8 * (length - 8)) - 1;
    parts.mark[length] = word_mark(length, unit);
  }
  return parts;
}

alignas(64) constexpr KeyParts kWordParts = key_parts(0);
alignas(64) constexpr KeyParts kUnitParts = key_parts(kUnit);

// A window on these, beginning at 64 - length: `length` bytes kept, the rest cleared.
struct Kept {
  std::uint8_t bytes[128] = {};
};

constexpr Kept kept_bytes() {
  Kept kept;
  for (int i = 0; i < 64; ++i) kept.bytes[i] = 0xFF;
  return kept;
}

alignas(64) constexpr Kept kKept = kept_bytes();

std::uint64_t load(const void* from) {
  std::uint64_t value;
  std::memcpy(&value, from, 8);
  return value;
}

// The key of the word text[begin, begin + length), reading 16 bytes from `begin` on.
WordKey key_forward(const std::uint8_t* text, std::int64_t begin, std::int64_t length,
                    const KeyParts& parts) {
  return {load(text + begin) & parts.low[length],
          (load(text + begin + 8) & parts.high[length]) ^ parts.mark[length]};
}

// The same, reading nothing behind the word: the 16 bytes up to its end where these are text.
WordKey key_backward(const std::uint8_t* text, std::int64_t begin, std::int64_t length,
                     std::uint64_t unit) {
  const std::int64_t end = begin + length;
  if (end < 16) return word_key(text + begin, length, unit);
  __extension__ using Wide = unsigned __int128;
  Wide bytes = static_cast<Wide>(load(text + end - 8)) << 64 | load(text + end - 16);
  bytes >>= 8 * (16 - length);
  return {static_cast<std::uint64_t>(bytes),
          static_cast<std::uint64_t>(bytes >> 64) ^
              word_mark(static_cast<std::uint64_t>(length), unit)};
}

// The key of a word of 16 to 63 bytes.
inline void long_key(const WordRun& words, std::int64_t begin, std::int64_t length,
                     std::uint64_t unit, std::uint64_t* key) {
  if (begin + 64 > words.size) {
    make_long_key(words.text + begin, length, unit, key);
    return;
  }
  std::uint64_t kept[8];
  std::memcpy(key, words.text + begin, 64);
  std::memcpy(kept, kKept.bytes + 64 - length, 64);
  for (int i = 0; i < 8; ++i) key[i] &= kept[i];
  key[7] |= unit | static_cast<std::uint64_t>(length) << 56;
}

// In the upper half of a key that no entry has; the hash of the word is then in the lower.
constexpr std::uint64_t kNoKey = ~0ull;

// Out of line, as is emit_long: the loops need the registers.
__attribute__((noinline)) void pack_long(const WordRun& words, std::int64_t begin,
                                         std::int64_t length, std::uint64_t unit,
                                         const WordTables& tables, PackedWord* packed) {
  *packed = {{0, kNoKey}, 0};
  if (length > LongWord::kMaxLength || tables.long_words == nullptr) return;
  std::uint64_t key[8];
  long_key(words, begin, length, unit, key);
  packed->key.low = hash_long_key(key);
  const LongWord* const word = tables.long_words + (packed->key.low & tables.long_mask);
  __builtin_prefetch(word);
  __builtin_prefetch(word->ids);
}

template <class Key>
void pack_while(const WordRun& words, int from, int count, std::uint64_t unit,
                const WordTables& tables, PackedWord* packed, Key key_of) {
  const auto* const lines = reinterpret_cast<const std::uint8_t*>(tables.entries);
  const std::uint64_t line_mask = tables.line_mask;
  const std::int64_t* end_at = words.ends + from;
  const PackedWord* const last = packed + count;
  std::int64_t begin = words.begin_of(from);
  for (PackedWord* word = packed + from; word != last; ++word) {
    const std::int64_t end = *end_at++;
    const std::int64_t length = end - begin;
    if (__builtin_expect(length > kMaxWord, 0)) {
      pack_long(words, begin, length, unit, tables, word);
    } else {
      word->key = key_of(begin, length);
      word->place = hash_key(word->key) & line_mask;
      __builtin_prefetch(lines + word->place);
    }
    begin = end;
  }
}

void pack(const WordRun& words, int from, int count, std::uint64_t unit, const WordTables& tables,
          PackedWord* packed) {
  // Only words near the end of the text lack sixteen bytes to read.
  int wide = count;
  while (wide > from && words.begin_of(wide - 1) + 16 > words.size) --wide;
  const KeyParts& parts = unit != 0 ? kUnitParts : kWordParts;
  const std::uint8_t* const text = words.text;
  pack_while(words, from, wide, unit, tables, packed, [&](std::int64_t begin, std::int64_t length) {
    return key_forward(text, begin, length, parts);
  });
  if (wide == count) return;
  pack_while(words, wide, count, unit, tables, packed,
             [&](std::int64_t begin, std::int64_t length) {
               return key_backward(text, begin, length, unit);
             });
}

// Writes the ids of a word of more than 15 bytes and returns their end; null if it is not there.
__attribute__((noinline)) std::uint32_t* emit_long(const WordRun& words, int i, std::uint64_t hash,
                                                   std::uint64_t unit, const WordTables& tables,
                                                   std::uint32_t* out) {
  const std::int64_t length = words.length(i);
  if (length > LongWord::kMaxLength || tables.long_words == nullptr) return nullptr;
  std::uint64_t key[8];
  long_key(words, words.begin_of(i), length, unit, key);
  const LongWord* word = tables.long_words + (hash & tables.long_mask);
  const auto differs = [&] {
    std::uint64_t bits = 0;
    for (int part = 0; part < 8; ++part) bits |= word->key[part] ^ key[part];
    return bits != 0;
  };
  if (differs()) {
    ++word;
    if (differs()) return nullptr;
  }
  if (word->count > LongWord::kMaxIds) {
    copy_spilled(tables.long_spill + word->ids[0], word->count, out);
  } else {
    static_assert(WordLookup::kMostOver * sizeof(std::uint32_t) == 64);
    std::memcpy(out, word->ids, 64);
  }
  return out + word->count;
}

std::uint32_t* copy_ids(const WordEntry& entry, std::uint32_t* out) {
#if defined(__SSE2__)
  const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(entry.ids));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm_and_si128(four, _mm_set_epi32(kLastIdMask, -1, -1, -1)));
#else
  std::uint64_t pairs[2];
  std::memcpy(pairs, entry.ids, sizeof pairs);
  pairs[1] &= std::uint64_t{kLastIdMask} << 32 | 0xFFFFFFFFu;
  std::memcpy(out, pairs, sizeof pairs);
#endif
  return out + id_count(entry);
}

// The same of a word whose key is not that of the first entry of its line: one of more than 15
// bytes, or with more ids than an entry has room for, or the second of its line, which goes to the
// front.
__attribute__((noinline)) std::uint32_t* emit_rare(const WordRun& words, int i,
                                                   const PackedWord& word, std::uint64_t unit,
                                                   const WordTables& tables, std::uint32_t* out) {
  if (word.key.high == kNoKey) return emit_long(words, i, word.key.low, unit, tables, out);
  auto* const entry =
      reinterpret_cast<WordEntry*>(reinterpret_cast<std::uint8_t*>(tables.entries) + word.place);
  if (!is_of(entry[0], word.key)) {
    if (!is_of(entry[1], word.key)) return nullptr;
    std::swap(entry[0], entry[1]);
  }
  if (!is_spilled(*entry)) return copy_ids(*entry, out);
  copy_spilled(tables.spill + entry->ids[0], entry->ids[1], out);
  return out + entry->ids[1];
}

int emit(const WordRun& words, const PackedWord* packed, int from, int count, std::uint64_t unit,
         const WordTables& tables, std::uint32_t** cursor) {
  const auto* const lines = reinterpret_cast<const std::uint8_t*>(tables.entries);
  const PackedWord* const last = packed + count;
  std::uint32_t* out = *cursor;
  const PackedWord* word = packed + from;
  for (; word != last; ++word) {
    const auto* const entry = reinterpret_cast<const WordEntry*>(lines + word->place);
    if (__builtin_expect(same_key(entry->key, word->key), 1)) {
      out = copy_ids(*entry, out);
      continue;
    }
    std::uint32_t* const end =
        emit_rare(words, static_cast<int>(word - packed), *word, unit, tables, out);
    if (end == nullptr) break;
    out = end;
  }
  *cursor = out;
  return static_cast<int>(word - packed);
}

}  // namespace

namespace TOKFRAG_ISA {

extern const WordLookup word_lookup = {&pack, &emit};

}  // namespace TOKFRAG_ISA

}  // namespace tokfrag
