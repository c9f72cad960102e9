#include "tokens/training/trainer_pairs.hpp"

#include <stdexcept>
#include <utility>

namespace tokfrag {

namespace {
constexpr int kFirstBits = 12;
constexpr std::uint32_t kMost = 1u << 30;  // half of the slots that 31 bits of hash tell apart
}  // namespace

PairIndex::PairIndex() : slots_(std::size_t{1} << kFirstBits), shift_(64 - kFirstBits) {}

std::uint32_t PairIndex::find(std::uint32_t left, std::uint32_t right) const {
  const std::uint64_t key = hash(left, right);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = key >> shift_;; at = (at + 1) & mask) {
    const std::uint64_t slot = slots_[at];
    if (slot == 0) return kNone;
    if (slot >> 32 != key >> 32) continue;
    const auto number = static_cast<std::uint32_t>(slot) - 1;
    const PairRecord& record = (*this)[number];
    if (record.left == left && record.right == right) return number;
  }
}

std::uint32_t PairIndex::find_or_add(std::uint32_t left, std::uint32_t right) {
  const std::uint32_t found = find(left, right);
  if (found != kNone) return found;
  if (static_cast<std::size_t>(used_) * 2 >= slots_.size()) grow();
  const std::uint64_t key = hash(left, right);
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = key >> shift_;
  while (slots_[at] != 0) at = (at + 1) & mask;
  const std::uint32_t number = append({left, right, 0, nullptr, 0, size_});
  slots_[at] = (key >> 32 << 32) | (number + 1);
  ++used_;
  return number;
}

std::uint32_t PairIndex::add_alias(std::uint32_t owner) {
  const PairRecord& first = (*this)[owner];
  return append({first.left, first.right, 0, nullptr, 0, owner});
}

std::uint32_t PairIndex::append(const PairRecord& record) {
  if (size_ == kMost) throw std::length_error("more than 2^30 distinct pairs");
  if (size_ % kBlock == 0) blocks_.emplace_back(new PairRecord[kBlock]);
  const std::uint32_t number = size_++;
  (*this)[number] = record;
  return number;
}

void PairIndex::grow() {
  std::vector<std::uint64_t> old(slots_.size() * 2);
  old.swap(slots_);
  --shift_;
  const std::size_t mask = slots_.size() - 1;
  for (const std::uint64_t slot : old) {
    if (slot == 0) continue;
    std::size_t at = slot >> shift_;
    while (slots_[at] != 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

std::uint32_t* PlaceArena::take(std::int64_t count) {
  if (count > kLong) {
    std::unique_ptr<std::uint32_t[]> list(new std::uint32_t[static_cast<std::size_t>(count)]);
    std::uint32_t* const taken = list.get();
    long_lists_.emplace(taken, std::move(list));
    return taken;
  }
  if (count > left_) {
    chunks_.emplace_back(new std::uint32_t[static_cast<std::size_t>(kChunk)]);
    next_ = chunks_.back().get();
    left_ = kChunk;
  }
  std::uint32_t* taken = next_;
  next_ += count;
  left_ -= count;
  return taken;
}

void PlaceArena::give_back(std::uint32_t* list, std::int64_t count) {
  if (count > kLong) long_lists_.erase(list);
}

}  // namespace tokfrag
