// What a byte-pair trainer knows of each pair of neighbours: how often it occurs, and where.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace tokfrag {

struct PairRecord {
  std::uint32_t left;
  std::uint32_t right;
  std::int64_t count;     // kept in the pair's first record
  std::uint32_t* places;  // where to look for it; stale places are allowed
  std::uint32_t n_places;
  std::uint32_t owner;  // the pair's first record: itself, but for a pair met in two merges
};

// Open-addressed: a slot holds half of the hash and a record number, so that a probe which misses
// costs one cache line, and growing reads no record. Records never move.
class PairIndex {
 public:
  static constexpr std::uint32_t kNone = 0xffffffffu;

  PairIndex();
  std::uint32_t find(std::uint32_t left, std::uint32_t right) const;
  // The pair's first record, made with count 0 and no places if there is none.
  std::uint32_t find_or_add(std::uint32_t left, std::uint32_t right);
  // A further record of the pair whose first record is `owner`.
  std::uint32_t add_alias(std::uint32_t owner);
  std::uint32_t size() const { return size_; }
  PairRecord& operator[](std::uint32_t record) {
    return blocks_[record >> kBlockBits][record & (kBlock - 1)];
  }
  const PairRecord& operator[](std::uint32_t record) const {
    return blocks_[record >> kBlockBits][record & (kBlock - 1)];
  }
  void prefetch(std::uint32_t left, std::uint32_t right) const {
    __builtin_prefetch(&slots_[hash(left, right) >> shift_]);
  }

 private:
  static constexpr int kBlockBits = 15;
  static constexpr std::uint32_t kBlock = 1u << kBlockBits;

  static std::uint64_t hash(std::uint32_t left, std::uint32_t right) {
    std::uint64_t key = (static_cast<std::uint64_t>(left) << 32 | right) * 0x9e3779b97f4a7c15u;
    key ^= key >> 32;
    return key * 0xd6e8feb86659fd93u;
  }
  std::uint32_t append(const PairRecord& record);
  void grow();

  // The hash's upper half, which says where a slot belongs, and record + 1; 0: empty.
  std::vector<std::uint64_t> slots_;
  int shift_;
  std::uint32_t used_ = 0;
  std::uint32_t size_ = 0;
  std::vector<std::unique_ptr<PairRecord[]>> blocks_;
};

// Memory for the lists of places: short ones are given out in order and freed together, long ones,
// which hold most of the places of pairs that are merged, are freed one by one.
class PlaceArena {
 public:
  std::uint32_t* take(std::int64_t count);
  void give_back(std::uint32_t* list, std::int64_t count);

 private:
  static constexpr std::int64_t kChunk = std::int64_t{1} << 16;
  static constexpr std::int64_t kLong = std::int64_t{1} << 8;
  std::vector<std::unique_ptr<std::uint32_t[]>> chunks_;
  std::unordered_map<std::uint32_t*, std::unique_ptr<std::uint32_t[]>> long_lists_;
  std::uint32_t* next_ = nullptr;
  std::int64_t left_ = 0;
};

}  // namespace tokfrag
