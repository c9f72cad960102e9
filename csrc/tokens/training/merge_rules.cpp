#include "tokens/training/merge_rules.hpp"

namespace tokfrag {

namespace {

constexpr std::uint32_t kNoRank = 0xffffffffu;

}  // namespace

MergeRules::MergeRules(const std::vector<Merge>& merges) {
  std::size_t slots = 16;
  while (slots < merges.size() * 2) slots *= 2;
  slots_.assign(slots, Rule{0, 0, kNoRank, 0});
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    std::uint64_t at = slot_of(merge.left, merge.right);
    while (slots_[at].rank != kNoRank &&
           (slots_[at].left != merge.left || slots_[at].right != merge.right)) {
      at = (at + 1) & (slots - 1);
    }
    slots_[at] = {merge.left, merge.right, static_cast<std::uint32_t>(rank), merge.id};
  }
}

std::uint64_t MergeRules::slot_of(std::uint32_t left, std::uint32_t right) const {
  std::uint64_t key = (static_cast<std::uint64_t>(left) << 32 | right) * 0x9e3779b97f4a7c15u;
  key ^= key >> 32;
  return (key * 0xd6e8feb86659fd93u >> 20) & (slots_.size() - 1);
}

const MergeRules::Rule* MergeRules::find(std::uint32_t left, std::uint32_t right) const {
  for (std::uint64_t at = slot_of(left, right);; at = (at + 1) & (slots_.size() - 1)) {
    const Rule& rule = slots_[at];
    if (rule.rank == kNoRank) return nullptr;
    if (rule.left == left && rule.right == right) return &rule;
  }
}

void MergeRules::apply(std::vector<std::uint32_t>& symbols, double dropout,
                       SplitMix& random) const {
  RandomMerger merge;
  merge(symbols, dropout, random, [&](std::uint32_t left, std::uint32_t right) {
    const Rule* rule = find(left, right);
    return rule == nullptr ? Merging{Merging::kNever, 0} : Merging{rule->rank, rule->id};
  });
}

}  // namespace tokfrag
