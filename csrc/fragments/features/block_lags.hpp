// The lagged sums of a group's blocks.
#pragma once

#include <utility>

#include "fragments/features/block_group.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

template <class T, bool kAdjoining>
class LagSummer {
 public:
  using V = LanesOf<T>;
  using Total = LaneTotal<T>;
  using Group = BlockGroup<T, kAdjoining>;

  // Works in `border`, of twice as many steps as the longest lag, and a tile.
  LagSummer(const BlockTask& task, V* border)
      : task_(task),
        reach_(task.lag_count > 0 ? task.lags[task.lag_count - 1] : 0),
        border_(border) {}

  std::int64_t reach() const { return reach_; }

  // The values that follow each block. For lags, the deviations of as many as the longest one has,
  // and of those that end the block.
  TOKFRAG_INLINE V load_border(const Group& group) {
    V after;
    if constexpr (kAdjoining) {
      constexpr auto kAll = std::make_integer_sequence<int, kWide>();
      const T* next = group.first + kWide * group.shortest;
      after = moved_down(group.values[0], next[0], kAll);
      for (std::int64_t j = 0; j < reach_; ++j) {
        border_[j] = group.pivot - moved_down(group.values[j], next[j], kAll);
      }
      after_ = border_;
      tail_ = group.values + group.longest - reach_;
    } else {
      const T* from[kWide];
      for (int k = 0; k < kWide; ++k) {
        from[k] = group.at[k] + static_cast<std::int64_t>(group.lengths[k]) - reach_;
      }
      const auto at = [&](int k) { return from[k]; };
      for (std::int64_t t = 0; t <= 2 * reach_; t += kAtOnce<T>) load_steps(at, t, border_ + t);
      after = border_[reach_];
      for (std::int64_t j = 0; j < 2 * reach_; ++j) border_[j] = group.pivot - border_[j];
      tail_ = border_;
      after_ = border_ + reach_;
    }
    return after;
  }

  // Of deviations; `probe` stays finite if the sums are.
  void run(const Group& group, Total& probe) const {
    sum_products(group, probe);
    sum_ends(group, probe);
  }

 private:
  static constexpr int kWide = kWideOf<T>;
  static constexpr int kParts = Total::kParts;
  static constexpr int kLagGroup = 3;  // lags at once: there are registers for as many

  void sum_products(const Group& group, Total& probe) const {
    std::int64_t k = 0;
    for (; k + kLagGroup <= task_.lag_count; k += kLagGroup) {
      if (task_.lags[k + kLagGroup - 1] - task_.lags[k] == kLagGroup - 1) {
        sum_lags<kLagGroup, true>(group, k, probe);
      } else {
        sum_lags<kLagGroup, false>(group, k, probe);
      }
    }
    for (; k < task_.lag_count; ++k) sum_lags<1, true>(group, k, probe);
  }

  // Products of kLags lags from number `first` on. After a block's end there are zeros. Lags that
  // follow one another share what they read.
  template <int kLags, bool kFollowing>
  void sum_lags(const Group& group, std::int64_t first, Total& probe) const {
    const std::int64_t* lags = task_.lags + first;
    Total totals[kLags];
    V sums[kLags];
    unrolled<kLags>([&](auto k) { sums[k] = V{}; });
    for (std::int64_t t = 0; t < group.longest;) {
      const V* from = group.values + t;
      V tile[2][kLags];
      V later[kLags];
      if constexpr (kFollowing) {
        unrolled<kLags - 1>([&](auto k) { later[k] = from[lags[0] + k]; });
      }
      unrolled<kTile>([&](auto i) {
        const V value = from[i];
        if constexpr (kFollowing) {
          constexpr int newest = kLags - 1;
          later[(i + newest) % kLags] = (from + lags[0])[i + newest];
        } else {
          unrolled<kLags>([&](auto k) { later[k] = (from + lags[k])[i]; });
        }
        unrolled<kLags>([&](auto k) {
          const V product = value * later[kFollowing ? (i + k) % kLags : int{k}];
          if constexpr (i < 2) {
            tile[i % 2][k] = product;
          } else {
            tile[i % 2][k] += product;
          }
        });
      });
      unrolled<kLags>([&](auto k) { sums[k] += tile[0][k] + tile[1][k]; });
      t += kTile;
      if (t % kSpan != 0 && t < group.longest) continue;
      unrolled<kLags>([&](auto k) {
        totals[k].add(sums[k]);
        sums[k] = V{};
      });
    }
    const std::int64_t apart = task_.sums.apart;
    unrolled<kLags>([&](auto k) {
      const std::int64_t lag = lags[k];
      const V* tail = tail_ + reach_ - lag;
      V out = tail[0] * after_[0];
      for (std::int64_t j = 1; j < lag; ++j) out += tail[j] * after_[j];
      unrolled<kParts>([&](auto p) {
        const std::int64_t at = (first + k) * apart + group.number + p * kLanes;
        const Doubles all = totals[k].part[p] + part_of<p>(out);
        store(task_.sums.products + at, totals[k].part[p]);
        store(task_.sums.all_products + at, all);
        probe.part[p] += all;
      });
    });
  }

  // What the first, the last and the following values add up to.
  void sum_ends(const Group& group, Total& probe) const {
    V head = {};
    V tail = {};
    V after = {};
    std::int64_t t = 0;
    for (std::int64_t k = 0; k < task_.lag_count; ++k) {
      for (; t < task_.lags[k]; ++t) {
        head += group.values[t];
        tail += tail_[reach_ - 1 - t];
        after += after_[t];
      }
      const V ends = -head - tail;
      const V turns = head - after;
      unrolled<kParts>([&](auto p) {
        const std::int64_t at = k * task_.sums.apart + group.number + p * kLanes;
        const Doubles turning = part_of<p>(turns);
        store(task_.sums.ends + at, part_of<p>(ends));
        store(task_.sums.turns + at, turning);
        probe.part[p] += turning;
      });
    }
  }

  const BlockTask& task_;
  const std::int64_t reach_;
  V* const border_;
  const V* tail_ = nullptr;   // the last deviations of each block
  const V* after_ = nullptr;  // those that follow it
};

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
