// How the windows of a series are cut into blocks that they share, or into blocks of their own
// where that pays more.
#pragma once

#include <cstdint>
#include <vector>

namespace tokfrag {

// Positions are relative to the first window's start; `first` and `last` say which blocks a window
// is made of, in order.
class BlockCuts {
 public:
  // Windows of `size` values; a block holds at least `least`, if the parts of a window do.
  BlockCuts(std::int64_t size, std::int64_t least) : size_(size), least_(least) {}

  // Of windows that start at starts[0, count), ascending. False if they lie to each other as those
  // that were cut last: then all is as it was.
  bool cut(const std::int64_t* starts, std::int64_t count);

  std::int64_t blocks() const { return static_cast<std::int64_t>(begins.size()); }

  std::vector<std::int64_t> begins, lengths, first, last;
  std::int64_t common = 0;  // the length of all blocks; 0 if they differ
  bool adjoining = false;   // they are of one length, and each begins where the one before it ends
  std::int64_t even = 0;    // the first windows that are each as many blocks, a block further each

 private:
  bool is_cut_alike(const std::int64_t* starts, std::int64_t count) const;
  bool cut_even();
  bool cut_shared();
  void cut_apart();
  void add_parts(std::int64_t begin, std::int64_t end);

  const std::int64_t size_;
  const std::int64_t least_;
  std::vector<std::int64_t> starts_;
  const std::int64_t* given_ = nullptr;  // the starts of the last call, which do not change
};

}  // namespace tokfrag
