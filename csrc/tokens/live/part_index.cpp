#include "tokens/live/part_index.hpp"

#include <algorithm>
#include <iterator>

namespace tokfrag {

namespace {

void add(PartIndex::Extent* sum, const PartIndex::Extent& more) {
  sum->characters += more.characters;
  sum->tokens += more.tokens;
}

void subtract(PartIndex::Extent* sum, const PartIndex::Extent& less) {
  sum->characters -= less.characters;
  sum->tokens -= less.tokens;
}

std::int64_t in_unit(const PartIndex::Extent& extent, PartIndex::Unit unit) {
  return unit == PartIndex::Unit::kCharacters ? extent.characters : extent.tokens;
}

}  // namespace

PartIndex::PartIndex(const std::vector<Extent>& parts) : blocks_(1) { replace(0, 0, parts); }

PartIndex::Boundary PartIndex::boundary(std::int64_t parts) const {
  Boundary found;
  for (const Block& block : blocks_) {
    const auto count = static_cast<std::int64_t>(block.parts.size());
    if (found.parts + count > parts) {
      for (auto at = block.parts.begin(); found.parts < parts; ++at, ++found.parts) {
        add(&found.before, *at);
      }
      return found;
    }
    found.parts += count;
    add(&found.before, block.total);
  }
  return found;
}

PartIndex::Boundary PartIndex::last_at(std::int64_t position, Unit unit) const {
  Boundary found;
  for (const Block& block : blocks_) {
    if (in_unit(found.before, unit) + in_unit(block.total, unit) > position) {
      for (const Extent& part : block.parts) {
        if (in_unit(found.before, unit) + in_unit(part, unit) > position) return found;
        ++found.parts;
        add(&found.before, part);
      }
    }
    found.parts += static_cast<std::int64_t>(block.parts.size());
    add(&found.before, block.total);
  }
  return found;
}

void PartIndex::replace(std::int64_t first, std::int64_t end, const std::vector<Extent>& parts) {
  std::size_t block = 0;
  std::int64_t at = first;
  // What comes at the end of a block is put there, and not before the next.
  while (at > static_cast<std::int64_t>(blocks_[block].parts.size())) {
    at -= static_cast<std::int64_t>(blocks_[block].parts.size());
    ++block;
  }
  erase(block, static_cast<std::size_t>(at), end - first);
  insert(block, static_cast<std::size_t>(at), parts);
  if (blocks_[block].parts.size() >= 2 * kMost) {
    split(block);
  } else if (blocks_[block].parts.empty() && blocks_.size() > 1) {
    blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(block));
  }
}

void PartIndex::erase(std::size_t block, std::size_t at, std::int64_t count) {
  size_ -= count;
  std::size_t last = block;
  for (;; ++last, at = 0) {
    std::vector<Extent>& parts = blocks_[last].parts;
    const std::int64_t here =
        std::min(count, static_cast<std::int64_t>(parts.size()) - static_cast<std::int64_t>(at));
    const auto begin = parts.begin() + static_cast<std::ptrdiff_t>(at);
    for (auto part = begin; part != begin + here; ++part) {
      subtract(&blocks_[last].total, *part);
      subtract(&total_, *part);
    }
    parts.erase(begin, begin + here);
    count -= here;
    if (count == 0) break;
  }
  // The first may be empty: something is put there, or its caller takes it out.
  const auto begin = blocks_.begin() + static_cast<std::ptrdiff_t>(block) + 1;
  const auto end = blocks_.begin() + static_cast<std::ptrdiff_t>(last) + 1;
  blocks_.erase(std::remove_if(begin, end, [](const Block& b) { return b.parts.empty(); }), end);
}

void PartIndex::insert(std::size_t block, std::size_t at, const std::vector<Extent>& parts) {
  size_ += static_cast<std::int64_t>(parts.size());
  Block& into = blocks_[block];
  for (const Extent& part : parts) {
    add(&into.total, part);
    add(&total_, part);
  }
  into.parts.insert(into.parts.begin() + static_cast<std::ptrdiff_t>(at), parts.begin(),
                    parts.end());
}

void PartIndex::split(std::size_t block) {
  const std::vector<Extent> parts = std::move(blocks_[block].parts);
  std::vector<Block> made((parts.size() + kMost - 1) / kMost);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Block& into = made[i / kMost];
    into.parts.push_back(parts[i]);
    add(&into.total, parts[i]);
  }
  const auto place = blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(block));
  blocks_.insert(place, std::make_move_iterator(made.begin()), std::make_move_iterator(made.end()));
}

std::pair<std::int64_t, std::int64_t> common_ids(const std::uint32_t* before,
                                                 std::int64_t old_count, const std::uint32_t* after,
                                                 std::int64_t new_count) {
  const std::int64_t shorter = std::min(old_count, new_count);
  const std::int64_t same = std::mismatch(before, before + shorter, after).first - before;
  std::int64_t last = 0;
  while (last < shorter - same && before[old_count - 1 - last] == after[new_count - 1 - last]) {
    ++last;
  }
  return {same, last};
}

}  // namespace tokfrag
