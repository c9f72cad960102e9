#include "tokens/byte_pair/piece_memory.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "tokens/byte_pair/word_entry.hpp"

namespace tokfrag {

std::uint64_t PieceMemory::hash_of(const std::uint8_t* text, std::int64_t length,
                                   std::uint64_t unit) {
  std::uint64_t hash = word_mark(static_cast<std::uint64_t>(length), unit);
  const auto take = [&](std::int64_t at) {
    std::uint64_t two[2];
    std::memcpy(two, text + at, sizeof two);
    hash = fold_product(two[0] ^ hash, two[1] ^ 0xC2B2AE3D27D4EB4Full);
  };
  for (std::int64_t at = 0; at + 16 < length; at += 16) take(at);
  take(length - 16);
  // Parts of pieces and whole ones are told apart by the hash alone.
  return (hash & ~std::uint64_t{1}) | (unit != 0 ? 1 : 0);
}

std::int64_t PieceMemory::find(const std::uint8_t* text, std::int64_t length, std::uint64_t hash,
                               std::uint32_t* ids) const {
  if (pieces_.empty()) return 0;
  const std::size_t mask = pieces_.size() - 1;
  for (std::size_t at = hash >> 32 & mask; pieces_[at].count != 0; at = (at + 1) & mask) {
    const Piece& piece = pieces_[at];
    if (piece.hash == hash && piece.length == length &&
        std::memcmp(texts_.data() + piece.text, text, static_cast<std::size_t>(length)) == 0) {
      std::copy_n(ids_.data() + piece.ids, piece.count, ids);
      return piece.count;
    }
  }
  return 0;
}

void PieceMemory::put(const Piece& piece) {
  const std::size_t mask = pieces_.size() - 1;
  std::size_t at = piece.hash >> 32 & mask;
  while (pieces_[at].count != 0) at = (at + 1) & mask;
  pieces_[at] = piece;
}

void PieceMemory::grow() {
  const std::vector<Piece> old =
      std::exchange(pieces_, std::vector<Piece>(std::max(kFirstPlaces, pieces_.size() * 2)));
  for (const Piece& piece : old) {
    if (piece.count != 0) put(piece);
  }
}

void PieceMemory::insert(const std::uint8_t* text, std::int64_t length, std::uint64_t hash,
                         const std::uint32_t* ids, std::int64_t count) {
  if (texts_.size() > kMaxBytes) {
    std::fill(pieces_.begin(), pieces_.end(), Piece{});
    used_ = 0;
    texts_.clear();
    ids_.clear();
  }
  if (used_ * 2 >= pieces_.size()) grow();
  put({hash, static_cast<std::uint32_t>(texts_.size()), static_cast<std::uint32_t>(length),
       static_cast<std::uint32_t>(ids_.size()), static_cast<std::uint32_t>(count)});
  ++used_;
  texts_.insert(texts_.end(), text, text + length);
  ids_.insert(ids_.end(), ids, ids + count);
}

}  // namespace tokfrag
