#include "tokens/merge_rules.hpp"

#include <algorithm>

#include "core/interrupt.hpp"

namespace tokfrag {

namespace {

constexpr std::uint32_t kNoRank = 0xffffffffu;
constexpr std::uint32_t kPollEvery = 1024;
constexpr std::uint32_t kGone = 0xffffffffu;

struct Candidate {
  std::uint32_t rank;
  std::uint32_t id;
  std::uint32_t at;
  std::uint32_t left;  // the symbols it was seen with: stale if they have changed
  std::uint32_t right;
  bool operator<(const Candidate& other) const {  // the heap's greatest comes first
    return rank != other.rank ? rank > other.rank : at > other.at;
  }
};

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
  const auto n = static_cast<std::uint32_t>(symbols.size());
  std::vector<std::uint32_t> next(n);
  std::vector<std::uint32_t> previous(n);
  std::vector<Candidate> queue;
  std::vector<Candidate> passed;
  const auto look = [&](std::uint32_t at) {
    const std::uint32_t left = symbols[at];
    const std::uint32_t right = symbols[next[at]];
    const Rule* rule = find(left, right);
    if (rule == nullptr) return;
    queue.push_back({rule->rank, rule->id, at, left, right});
    std::push_heap(queue.begin(), queue.end());
  };
  for (std::uint32_t at = 0; at < n; ++at) {
    next[at] = at + 1;
    previous[at] = at - 1;
  }
  for (std::uint32_t at = 0; at + 1 < n; ++at) look(at);
  for (std::uint32_t step = 1; !queue.empty(); ++step) {
    if (step % kPollEvery == 0) poll_interrupt();
    std::pop_heap(queue.begin(), queue.end());
    const Candidate best = queue.back();
    queue.pop_back();
    const std::uint32_t second = next[best.at];
    if (symbols[best.at] != best.left || second >= n || symbols[second] != best.right) continue;
    if (dropout > 0 && random.uniform() < dropout) {
      passed.push_back(best);
      continue;
    }
    symbols[best.at] = best.id;
    symbols[second] = kGone;
    next[best.at] = next[second];
    if (next[second] < n) previous[next[second]] = best.at;
    for (const Candidate& again : passed) {
      queue.push_back(again);
      std::push_heap(queue.begin(), queue.end());
    }
    passed.clear();
    if (next[best.at] < n) look(best.at);
    if (best.at > 0) look(previous[best.at]);
  }
  symbols.erase(std::remove(symbols.begin(), symbols.end(), kGone), symbols.end());
}

}  // namespace tokfrag
