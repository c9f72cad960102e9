#include "fragments/features/block_cuts.hpp"

#include <algorithm>

#include "fragments/features/blocks.hpp"
#include "fragments/features/rows.hpp"

namespace tokfrag {

bool BlockCuts::cut(const std::int64_t* starts, std::int64_t count) {
  if (starts == given_ && count == static_cast<std::int64_t>(starts_.size())) return false;
  given_ = starts;
  if (is_cut_alike(starts, count)) return false;
  starts_.assign(starts, starts + count);
  for (std::int64_t& start : starts_) start -= starts[0];
  first.resize(starts_.size());
  last.resize(starts_.size());
  if (cut_even()) return true;
  if (!cut_shared()) cut_apart();
  const auto differs = [&](std::int64_t length) { return length != lengths[0]; };
  common = std::any_of(lengths.begin(), lengths.end(), differs) ? 0 : lengths[0];
  adjoining = common > 0;
  for (std::size_t k = 1; k < begins.size() && adjoining; ++k) {
    adjoining = begins[k] == begins[k - 1] + common;
  }
  for (even = 0; even < count; ++even) {
    const auto window = static_cast<std::size_t>(even);
    if (first[window] != even || last[window] != even + last[0]) break;
  }
  return true;
}

bool BlockCuts::is_cut_alike(const std::int64_t* starts, std::int64_t count) const {
  if (count != static_cast<std::int64_t>(starts_.size())) return false;
  bool alike = true;
  for (std::size_t w = 0; w < starts_.size(); ++w) alike &= starts[w] - starts[0] == starts_[w];
  return alike;
}

// What cut_shared() makes of windows at one stride that divides their size: a block a stride.
bool BlockCuts::cut_even() {
  const auto count = static_cast<std::int64_t>(starts_.size());
  const std::int64_t stride = count > 1 ? starts_[1] : size_;
  if (stride <= 0 || size_ % stride != 0 || stride < least_ || stride > kBlockMost) return false;
  bool alike = true;
  for (std::int64_t w = 0; w < count; ++w) {
    alike &= starts_[static_cast<std::size_t>(w)] == w * stride;
  }
  if (!alike || row_ring(starts_.data(), count, size_) == 0) return false;
  const std::int64_t each = size_ / stride;
  begins.resize(static_cast<std::size_t>(count - 1 + each));
  for (std::size_t b = 0; b < begins.size(); ++b) begins[b] = static_cast<std::int64_t>(b) * stride;
  lengths.assign(begins.size(), stride);
  for (std::int64_t w = 0; w < count; ++w) {
    first[static_cast<std::size_t>(w)] = w;
    last[static_cast<std::size_t>(w)] = w + each;
  }
  common = stride;
  adjoining = true;
  even = count;
  return true;
}

// Cuts where a window starts or ends. False if that does not pay, or makes blocks that are too
// short.
bool BlockCuts::cut_shared() {
  begins.clear();
  lengths.clear();
  const std::int64_t* starts = starts_.data();
  const auto count = static_cast<std::int64_t>(starts_.size());
  if (row_ring(starts, count, size_) == 0) return false;
  std::int64_t opened = 0;  // windows whose start has been passed
  std::int64_t closed = 0;  // windows done
  std::int64_t at = starts[0];
  while (closed < count) {
    if (closed == opened) at = starts[opened];  // past a gap between windows
    for (; opened < count && starts[opened] == at; ++opened) {
      first[static_cast<std::size_t>(opened)] = blocks();
    }
    std::int64_t end = starts[closed] + size_;
    if (opened < count) end = std::min(end, starts[opened]);
    add_parts(at, end);
    if (lengths.back() < least_) return false;
    at = end;
    for (; closed < opened && starts[closed] + size_ == at; ++closed) {
      last[static_cast<std::size_t>(closed)] = blocks();
    }
  }
  return true;
}

// Each window into blocks of its own.
void BlockCuts::cut_apart() {
  begins.clear();
  lengths.clear();
  for (std::size_t w = 0; w < starts_.size(); ++w) {
    first[w] = blocks();
    add_parts(starts_[w], starts_[w] + size_);
    last[w] = blocks();
  }
}

// The last part is never longer than the others.
void BlockCuts::add_parts(std::int64_t begin, std::int64_t end) {
  for (std::int64_t parts = block_parts(end - begin); parts > 0; --parts) {
    const std::int64_t length = (end - begin + parts - 1) / parts;
    begins.push_back(begin);
    lengths.push_back(length);
    begin += length;
  }
}

}  // namespace tokfrag
