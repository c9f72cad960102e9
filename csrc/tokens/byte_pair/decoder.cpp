#include "tokens/byte_pair/decoder.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>

namespace tokfrag {

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
    const std::int64_t end = std::min(begin + kBlock, count);
    bool unknown = false;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto id = static_cast<Unsigned>(ids[i]);
      const std::uint32_t length = id < limit ? lengths_[id] : 0;
      unknown |= length == 0;
      total += length;
    }
    if (unknown) {
      for (std::int64_t i = begin;; ++i) {
        const auto id = static_cast<Unsigned>(ids[i]);
        if (id >= limit || lengths_[id] == 0) return -1 - i;
      }
    }
  }
  return total;
}

template <class Id>
void Decoder::write(const Id* ids, std::int64_t count, std::uint8_t* out, std::int64_t size) const {
  std::uint8_t* const end = out + size;
  std::int64_t i = 0;
  // While 16 bytes may be written, a short token is one copy of known size.
  for (; i < count && end - out >= kInline; ++i) {
    const auto id = static_cast<std::size_t>(ids[i]);
    const std::uint32_t length = lengths_[id];
    if (length <= kInline) {
      std::memcpy(out, entries_[id].bytes, kInline);
    } else {
      std::memcpy(out, token(id), length);
    }
    out += length;
  }
  for (; i < count; ++i) {
    const auto id = static_cast<std::size_t>(ids[i]);
    std::memcpy(out, token(id), lengths_[id]);
    out += lengths_[id];
  }
}

std::int64_t Decoder::offsets(const std::uint32_t* ids, std::int64_t count, std::int64_t begin,
                              std::int64_t* offsets) const {
  for (std::int64_t i = 0; i < count; ++i) {
    offsets[2 * i] = begin;
    offsets[2 * i + 1] = begin += lengths_[ids[i]];
  }
  return begin;
}

template std::int64_t Decoder::measure(const std::uint32_t*, std::int64_t) const;
template std::int64_t Decoder::measure(const std::int32_t*, std::int64_t) const;
template std::int64_t Decoder::measure(const std::int64_t*, std::int64_t) const;
template void Decoder::write(const std::uint32_t*, std::int64_t, std::uint8_t*, std::int64_t) const;
template void Decoder::write(const std::int32_t*, std::int64_t, std::uint8_t*, std::int64_t) const;
template void Decoder::write(const std::int64_t*, std::int64_t, std::uint8_t*, std::int64_t) const;

}  // namespace tokfrag
