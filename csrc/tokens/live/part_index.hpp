// Where the parts of a live text lie, in characters and in tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tokfrag {

// Sizes of parts that lie end to end, in blocks with a sum each: to find a part, or to put others
// in its place, takes the square root of what a plain list of positions does.
class PartIndex {
 public:
  struct Extent {
    std::int64_t characters = 0;
    std::int64_t tokens = 0;
  };
  // A place between two parts: how many are before it, and their sizes together.
  struct Boundary {
    std::int64_t parts = 0;
    Extent before;
  };
  enum class Unit { kCharacters, kTokens };

  explicit PartIndex(const std::vector<Extent>& parts);

  std::int64_t size() const { return size_; }
  const Extent& total() const { return total_; }
  // Takes 0 to size() parts.
  Boundary boundary(std::int64_t parts) const;
  // The last boundary that lies at `position` or before it; takes a position of 0 or more.
  Boundary last_at(std::int64_t position, Unit unit) const;
  // Other parts in the place of those from `first` to `end`; takes 0 <= first <= end <= size().
  void replace(std::int64_t first, std::int64_t end, const std::vector<Extent>& parts);

 private:
  static constexpr std::size_t kMost = 128;  // parts in a block; twice that many are halved

  struct Block {
    std::vector<Extent> parts;
    Extent total;
  };

  void erase(std::size_t block, std::size_t at, std::int64_t count);
  void insert(std::size_t block, std::size_t at, const std::vector<Extent>& parts);
  void split(std::size_t block);

  std::vector<Block> blocks_;  // none of them empty, unless it is the only one
  std::int64_t size_ = 0;
  Extent total_;
};

// How many ids two arrays begin with in common, and how many of the others they end with.
std::pair<std::int64_t, std::int64_t> common_ids(const std::uint32_t* before,
                                                 std::int64_t old_count, const std::uint32_t* after,
                                                 std::int64_t new_count);

}  // namespace tokfrag
