#include "tokens/byte_pair/pair_table.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

#include "core/interrupt.hpp"

namespace tokfrag {

PairTable::PairTable(const Vocabulary& vocabulary, const std::vector<Pair>& pairs)
    : count_(static_cast<std::int64_t>(pairs.size())) {
  int bits = 10;
  while ((1ll << bits) < 2 * count_) ++bits;
  shift_ = 64 - bits;
  mask_ = (1ull << bits) - 1;
  slots_ = HugeBuffer((1ll << bits) * 8);
  std::memset(slots_.data(), 0xFF, static_cast<std::size_t>(slots_.size()));
  auto* slots = slots_.as<std::uint64_t>();
  filter_shift_ = shift_ - 2;
  filter_.assign((std::size_t{4} << bits) / 64, 0);
  for (const Pair& pair : pairs) {
    const std::uint64_t hash = hash_pair(pair.key);
    const std::uint64_t bit = hash >> filter_shift_;
    filter_[bit >> 6] |= 1ull << (bit & 63);
    std::uint64_t at = hash >> shift_;
    while (slots[at] != PairView::kEmpty) at = (at + 1) & mask_;
    slots[at] = (pair.key << PairView::kRankBits) | pair.rank;
  }
  byte_pairs_.resize(256 * 256);
  for (int left = 0; left < 256; ++left) {
    for (int right = 0; right < 256; ++right) {
      byte_pairs_[static_cast<std::size_t>(left * 256 + right)] =
          find(vocabulary.byte_symbol(static_cast<std::uint8_t>(left)),
               vocabulary.byte_symbol(static_cast<std::uint8_t>(right)));
    }
  }
}

namespace {

constexpr std::int64_t kPollBytes = 1 << 20;  // of tokens, between two polls for Ctrl-C
constexpr std::size_t kPollCuts = 1 << 16;    // of one token

// A bit for each token at its hash: most parts of tokens that are no tokens are known by it.
class HashFilter {
 public:
  explicit HashFilter(std::int64_t tokens) {
    int bits = 10;
    while ((1ll << bits) < tokens * 8) ++bits;
    shift_ = 64 - bits;
    bits_.resize(std::size_t{1} << (bits - 6));
  }
  void add(std::uint64_t hash) { bits_[hash >> shift_ >> 6] |= 1ull << (hash >> shift_ & 63); }
  bool may_hold(std::uint64_t hash) const {
    return (bits_[hash >> shift_ >> 6] >> (hash >> shift_ & 63) & 1) != 0;
  }

 private:
  std::vector<std::uint64_t> bits_;
  int shift_;
};

// A token cut in two parts that are likely to be tokens.
struct Parts {
  std::uint64_t left_hash;
  std::uint64_t right_hash;
  std::int64_t cut;
  Symbol symbol;
};

}  // namespace

PairTable PairTable::from_ranks(const Vocabulary& vocabulary) {
  std::vector<std::uint64_t> power(static_cast<std::size_t>(vocabulary.max_length()) + 1, 1);
  for (std::size_t i = 1; i < power.size(); ++i) {
    if (i % kPollCuts == 0) poll_interrupt();
    power[i] = power[i - 1] * kHashBase;
  }
  std::vector<std::uint64_t> prefix(power.size());
  const auto hash_prefixes = [&](Symbol symbol) {
    const std::uint8_t* bytes = vocabulary.bytes(symbol);
    const auto length = static_cast<std::size_t>(vocabulary.length(symbol));
    for (std::size_t i = 0; i < length; ++i) prefix[i + 1] = prefix[i] * kHashBase + bytes[i] + 1;
    return length;
  };
  // Tokens may be megabytes long.
  std::int64_t unpolled = 0;
  const auto poll_after = [&](std::int64_t bytes) {
    unpolled += bytes;
    if (unpolled < kPollBytes) return;
    unpolled = 0;
    poll_interrupt();
  };
  HashFilter filter(vocabulary.size());
  for (Symbol symbol = 0; symbol < vocabulary.size(); ++symbol) {
    poll_after(vocabulary.length(symbol));
    filter.add(mix_hash(prefix[hash_prefixes(symbol)]));
  }
  std::vector<Parts> likely;
  for (Symbol symbol = 0; symbol < vocabulary.size(); ++symbol) {
    const std::size_t length = hash_prefixes(symbol);
    poll_after(vocabulary.length(symbol));
    for (std::size_t cut = 1; cut < length; ++cut) {
      if (cut % kPollCuts == 0) poll_interrupt();
      const std::uint64_t left = mix_hash(prefix[cut]);
      const std::uint64_t right = mix_hash(prefix[length] - prefix[cut] * power[length - cut]);
      if (filter.may_hold(left) && filter.may_hold(right)) {
        likely.push_back({left, right, static_cast<std::int64_t>(cut), symbol});
      }
    }
  }
  std::vector<Pair> pairs;
  pairs.reserve(likely.size());
  constexpr std::size_t kAhead = 16;  // whose places in the vocabulary are asked for
  for (std::size_t i = 0; i < likely.size(); ++i) {
    if (i + kAhead < likely.size()) {
      vocabulary.prefetch(likely[i + kAhead].left_hash);
      vocabulary.prefetch(likely[i + kAhead].right_hash);
    }
    const Parts& parts = likely[i];
    poll_after(vocabulary.length(parts.symbol));
    const std::uint8_t* bytes = vocabulary.bytes(parts.symbol);
    const Symbol left = vocabulary.find(bytes, parts.cut, parts.left_hash);
    if (left == kNoSymbol) continue;
    const Symbol right = vocabulary.find(
        bytes + parts.cut, vocabulary.length(parts.symbol) - parts.cut, parts.right_hash);
    if (right == kNoSymbol) continue;
    pairs.push_back({pair_key(left, right), parts.symbol});
  }
  return PairTable(vocabulary, pairs);
}

bool PairTable::is_sound(const Vocabulary& vocabulary) const {
  // One bit of the hash more than places, and two more for the filter.
  if (shift_ < 4 || shift_ > 62) return false;
  const int bits = 64 - shift_;
  if (mask_ != (1ull << bits) - 1 || filter_shift_ != shift_ - 2) return false;
  if (slots_.size() != std::int64_t{8} << bits) return false;
  if (filter_.size() != (std::size_t{4} << bits) / 64) return false;
  const std::int64_t symbols = vocabulary.size();
  const auto ranks = merged_.empty() ? symbols : static_cast<std::int64_t>(merged_.size());
  for (const Symbol symbol : merged_) {
    if (symbol >= symbols) return false;
  }
  if (byte_pairs_.size() != 256 * 256) return false;
  for (const Rank rank : byte_pairs_) {
    if (rank != kNoRank && rank >= ranks) return false;
  }
  // A search ends at a free place. (No branches: there are half a million of them.)
  const auto* slots = slots_.as<std::uint64_t>();
  std::uint64_t free = 0;
  std::uint64_t beyond = 0;
  for (std::uint64_t at = 0; at <= mask_; ++at) {
    const std::uint64_t is_free = slots[at] == PairView::kEmpty;
    const auto rank = static_cast<std::int64_t>(slots[at] & (kMaxRanks - 1));
    free += is_free;
    beyond += static_cast<std::uint64_t>(rank >= ranks) & (is_free ^ 1);
  }
  return free > 0 && beyond == 0;
}

PairTable PairTable::from_merges(const Vocabulary& vocabulary, const std::vector<Symbol>& left,
                                 const std::vector<Symbol>& right) {
  const std::size_t count = left.size();
  if (count > kMaxRanks) {
    throw std::invalid_argument("merges: " + std::to_string(count) + " merges, at most " +
                                std::to_string(kMaxRanks) + " are supported");
  }
  std::vector<Pair> pairs;
  std::vector<Symbol> merged;
  std::string joined;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::max(left[i], right[i]) >= vocabulary.size()) {
      throw std::invalid_argument("merges: merge " + std::to_string(i) + " names token " +
                                  std::to_string(std::max(left[i], right[i])) + " of " +
                                  std::to_string(vocabulary.size()));
    }
    joined.assign(reinterpret_cast<const char*>(vocabulary.bytes(left[i])),
                  static_cast<std::size_t>(vocabulary.length(left[i])));
    joined.append(reinterpret_cast<const char*>(vocabulary.bytes(right[i])),
                  static_cast<std::size_t>(vocabulary.length(right[i])));
    const Symbol symbol = vocabulary.find(reinterpret_cast<const std::uint8_t*>(joined.data()),
                                          static_cast<std::int64_t>(joined.size()));
    if (symbol == kNoSymbol) {
      throw std::invalid_argument("merges: what merge " + std::to_string(i) +
                                  " makes is not in the vocabulary");
    }
    merged.push_back(symbol);
    pairs.push_back({pair_key(left[i], right[i]), static_cast<Rank>(i)});
  }
  // Where merges are in the order of what they make, as in most files, that can be the rank.
  const bool ascend =
      std::adjacent_find(merged.begin(), merged.end(), std::greater_equal<>()) == merged.end();
  if (ascend) {
    for (std::size_t i = 0; i < count; ++i) pairs[i].rank = merged[i];
  }
  PairTable table(vocabulary, pairs);
  if (!ascend) table.merged_ = std::move(merged);
  for (std::size_t i = 0; i < count; ++i) {
    if (table.find(left[i], right[i]) != pairs[i].rank) {
      throw std::invalid_argument("merges: the pair of merge " + std::to_string(i) +
                                  " is listed twice");
    }
  }
  return table;
}

}  // namespace tokfrag
