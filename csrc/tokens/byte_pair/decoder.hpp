// Ids to bytes, by table copies.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/huge_buffer.hpp"
#include "tokens/byte_pair/vocabulary.hpp"

namespace tokfrag {

class Decoder {
 public:
  explicit Decoder(const Vocabulary& vocabulary);

  // Adds a token that text is not encoded to by itself (a special one). Throws
  // std::invalid_argument if its id already stands for other bytes.
  void add(std::uint32_t id, const std::string& bytes);

  // One more than the largest id.
  std::int64_t id_count() const { return static_cast<std::int64_t>(lengths_.size()); }

  // The bytes of an id; false if no token has it.
  bool find(std::int64_t id, const std::uint8_t** bytes, std::int64_t* length) const;

  // The total length of ids[0, count); or, if one is unknown, -1 - its position.
  template <class Id>
  std::int64_t measure(const Id* ids, std::int64_t count) const;

  // Writes the bytes of ids[0, count), all known, to out[0, size), `size` as measured. False where
  // that does not fit: another thread has changed the ids. Nothing outside `out` is written even
  // so.
  template <class Id>
  bool write(const Id* ids, std::int64_t count, std::uint8_t* out, std::int64_t size) const;

 private:
  // Tokens of up to 16 bytes lie here whole, zero-padded; a longer one as its place in long_bytes_.
  struct Entry {
    std::uint8_t bytes[16];
  };
  static constexpr std::int64_t kInline = 16;

  // The same for an id that has a place and no bytes yet.
  void put(std::uint32_t id, const std::uint8_t* bytes, std::int64_t length);
  const std::uint8_t* token(std::size_t id) const;

  std::vector<Entry> entries_;          // by id
  std::vector<std::uint32_t> lengths_;  // by id; 0: unknown
  std::string long_bytes_;
};

}  // namespace tokfrag
