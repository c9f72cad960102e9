#include "tokens/byte_pair/decoder.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "core/interrupt.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kIdsAtOnce = 1 << 14;   // between two polls for Ctrl-C
constexpr std::uint32_t kLongToken = 1 << 16;  // a poll of its own

// Reads a number that other threads may be changing: once, whatever the compiler would prefer.
template <class Id>
Id read_once(const Id* place) {
  return __atomic_load_n(place, __ATOMIC_RELAXED);
}

}  // namespace

Decoder::Decoder(const Vocabulary& vocabulary) {
  std::uint32_t largest = 0;
  for (const std::uint32_t id : vocabulary.all_ids()) largest = std::max(largest, id);
  entries_.resize(std::size_t{largest} + 1);
  lengths_.resize(std::size_t{largest} + 1);
  for (Symbol symbol = 0; symbol < vocabulary.size(); ++symbol) {
    put(vocabulary.id(symbol), vocabulary.bytes(symbol), vocabulary.length(symbol));
  }
}

void Decoder::add(std::uint32_t id, const std::string& bytes) {
  if (id > kMaxId) {
    throw std::invalid_argument("id " + std::to_string(id) + " is above the largest supported, " +
                                std::to_string(kMaxId));
  }
  if (id >= lengths_.size()) {
    entries_.resize(std::size_t{id} + 1);
    lengths_.resize(std::size_t{id} + 1);
  }
  if (lengths_[id] != 0) {
    if (bytes == std::string(reinterpret_cast<const char*>(token(id)), lengths_[id])) return;
    throw std::invalid_argument("id " + std::to_string(id) + " stands for two different tokens");
  }
  put(id, reinterpret_cast<const std::uint8_t*>(bytes.data()),
      static_cast<std::int64_t>(bytes.size()));
}

void Decoder::put(std::uint32_t id, const std::uint8_t* bytes, std::int64_t length) {
  lengths_[id] = static_cast<std::uint32_t>(length);
  Entry& entry = entries_[id];
  if (length <= kInline) {
    std::memcpy(entry.bytes, bytes, static_cast<std::size_t>(length));
  } else {
    const std::uint64_t place = long_bytes_.size();
    std::memcpy(entry.bytes, &place, sizeof place);
    long_bytes_.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(length));
  }
}

const std::uint8_t* Decoder::token(std::size_t id) const {
  if (lengths_[id] <= kInline) return entries_[id].bytes;
  std::uint64_t place = 0;
  std::memcpy(&place, entries_[id].bytes, sizeof place);
  return reinterpret_cast<const std::uint8_t*>(long_bytes_.data()) + place;
}

bool Decoder::find(std::int64_t id, const std::uint8_t** bytes, std::int64_t* length) const {
  if (id < 0 || id >= id_count() || lengths_[static_cast<std::size_t>(id)] == 0) return false;
  *bytes = token(static_cast<std::size_t>(id));
  *length = lengths_[static_cast<std::size_t>(id)];
  return true;
}

template <class Id>
std::int64_t Decoder::measure(const Id* ids, std::int64_t count) const {
  // A negative id, taken as unsigned, is above every known one.
  using Unsigned = std::make_unsigned_t<Id>;
  const std::uint64_t limit = lengths_.size();
  constexpr std::int64_t kBlock = 512;
  std::int64_t total = 0;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    if (begin % kIdsAtOnce == 0) poll_interrupt();
    const std::int64_t end = std::min(begin + kBlock, count);
    bool unknown = false;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto id = static_cast<Unsigned>(read_once(ids + i));
      const std::uint32_t length = id < limit ? lengths_[id] : 0;
      unknown |= length == 0;
      total += length;
    }
    if (unknown) {
      for (std::int64_t i = begin; i < end; ++i) {
        const auto id = static_cast<Unsigned>(read_once(ids + i));
        if (id >= limit || lengths_[id] == 0) return -1 - i;
      }
      return -1 - begin;  // another thread has put a known id in its place since
    }
  }
  return total;
}

template <class Id>
bool Decoder::write(const Id* ids, std::int64_t count, std::uint8_t* out, std::int64_t size) const {
  using Unsigned = std::make_unsigned_t<Id>;
  const std::uint64_t limit = lengths_.size();
  // Held here, because the compiler must think that writing to `out` may change members.
  const std::uint32_t* const lengths = lengths_.data();
  const Entry* const entries = entries_.data();
  std::uint8_t* const end = out + size;
  for (std::int64_t begin = 0; begin < count; begin += kIdsAtOnce) {
    poll_interrupt();
    const std::int64_t stop = std::min(begin + kIdsAtOnce, count);
    for (std::int64_t i = begin; i < stop; ++i) {
      const auto id = static_cast<Unsigned>(read_once(ids + i));
      if (__builtin_expect(id >= limit, 0)) return false;
      const std::uint32_t length = lengths[id];
      if (__builtin_expect(length <= kInline && end - out >= kInline, 1)) {
        // While 16 bytes may be written, a short token is one copy of known size.
        std::memcpy(out, entries[id].bytes, kInline);
      } else {
        if (length > end - out) return false;
        std::memcpy(out, token(id), length);
        if (length >= kLongToken) poll_interrupt();
      }
      out += length;
    }
  }
  return out == end;
}

template std::int64_t Decoder::measure(const std::uint32_t*, std::int64_t) const;
template std::int64_t Decoder::measure(const std::int32_t*, std::int64_t) const;
template std::int64_t Decoder::measure(const std::int64_t*, std::int64_t) const;
template bool Decoder::write(const std::uint32_t*, std::int64_t, std::uint8_t*, std::int64_t) const;
template bool Decoder::write(const std::int32_t*, std::int64_t, std::uint8_t*, std::int64_t) const;
template bool Decoder::write(const std::int64_t*, std::int64_t, std::uint8_t*, std::int64_t) const;

}  // namespace tokfrag
