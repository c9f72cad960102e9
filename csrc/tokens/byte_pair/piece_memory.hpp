// Pieces of more than 63 bytes that have come up before, and their ids.
//
// Such a piece is cut into parts or merged whole, either of which costs many times what a lookup
// does, and texts do repeat some: rules of dashes, long literals, sentences of a script without
// spaces. Memory is bounded: when it is full, it starts again from nothing. One thread at a time.
#pragma once

#include <cstdint>
#include <vector>

namespace tokfrag {

class PieceMemory {
 public:
  static constexpr std::int64_t kMinLength = 64;
  static constexpr std::int64_t kMaxLength = 2048;

  // unit: as in a word's key.
  static std::uint64_t hash_of(const std::uint8_t* text, std::int64_t length, std::uint64_t unit);

  // Writes the ids of a piece and returns how many; 0 if it is not known.
  std::int64_t find(const std::uint8_t* text, std::int64_t length, std::uint64_t hash,
                    std::uint32_t* ids) const;
  // Remembers a piece that is not known.
  void insert(const std::uint8_t* text, std::int64_t length, std::uint64_t hash,
              const std::uint32_t* ids, std::int64_t count);

 private:
  static constexpr std::size_t kFirstPlaces = 256;
  static constexpr std::size_t kMaxBytes = 1 << 22;  // of text

  struct Piece {
    std::uint64_t hash;
    std::uint32_t text;  // where its bytes begin in texts_
    std::uint32_t length;
    std::uint32_t ids;    // and its ids in ids_
    std::uint32_t count;  // 0: free
  };

  void put(const Piece& piece);
  void grow();

  std::vector<Piece> pieces_;  // at most half of them taken
  std::size_t used_ = 0;
  std::vector<std::uint8_t> texts_;
  std::vector<std::uint32_t> ids_;
};

}  // namespace tokfrag
