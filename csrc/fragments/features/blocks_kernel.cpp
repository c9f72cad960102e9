#include <cmath>
#include <cstring>
#include <limits>

#include "fragments/features/block_in_double.hpp"
#include "fragments/features/blocks.hpp"
#include "fragments/features/steps.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// Squares of floats below have lost digits.
constexpr double kLeastSquares = 1e-25;
constexpr int kTile = 8;  // steps that are added up before they join a sum
constexpr std::int64_t kRoom = 2 * kBlockMost + kTile;  // steps of a block and of the longest lag
// A lane of floats adds this many steps before its sum goes on in double.
constexpr std::int64_t kSpan = 16;

// The sums of a row's blocks, a block a lane.
template <class T>
class BlockSummer {
 public:
  explicit BlockSummer(const BlockTask& task)
      : task_(task), reach_(task.lag_count > 0 ? task.lags[task.lag_count - 1] : 0) {}

  // True if some block had to be summed in double.
  bool run() {
    if (task_.even > 0) {
      shortest_ = longest_ = task_.even;
      lengths_ = splat_of(task_.even);
    }
    for (std::int64_t block = 0; block < task_.count; block += kWide) {
      take(block);
      if (reach_ > 0) {
        sum_blocks<true>(block);
      } else {
        sum_blocks<false>(block);
      }
    }
    return wild_;
  }

 private:
  using V = LanesOf<T>;
  static constexpr int kWide = kVectorBytes / static_cast<int>(sizeof(T));
  static constexpr int kParts = kWide / kLanes;
  static constexpr int kAhead = 2;     // groups of blocks that are asked for ahead
  static constexpr int kLagGroup = 3;  // lags at once: there are registers for as many

  // Sums of floats, a span at a time.
  struct Total {
    Doubles part[kParts] = {};

    TOKFRAG_INLINE void add(const V& lanes) {
      unrolled<kParts>([&](auto k) { part[k] += part_of<k>(lanes); });
    }
  };

  // What the blocks add up to, about a pivot each.
  struct BlockMoments {
    V pivot;
    V least;
    V greatest;
    V last;          // values
    Total residual;  // of the deviations
    Total squares;
    Total steps;
    Total offset;  // from the pivot to the mean
  };

  static V splat_of(std::int64_t step) { return static_cast<T>(step) - V{}; }

  // The blocks from `block` on become the lanes; lanes that are left repeat the last one.
  void take(std::int64_t block) {
    const T* row = static_cast<const T*>(task_.row);
    const std::int64_t most = task_.count - 1;
    const auto own = [&](int k) { return block + k < most ? block + k : most; };
    for (int k = 0; k < kWide; ++k) at_[k] = row + task_.begins[own(k)];
    const std::int64_t ahead = block + kAhead * kWide;
    ahead_ = reinterpret_cast<std::uintptr_t>(row + task_.begins[ahead < most ? ahead : 0]);
    if (task_.even > 0) return;
    shortest_ = kBlockMost;
    longest_ = 0;
    T lengths[kWide];
    for (int k = 0; k < kWide; ++k) {
      const std::int64_t length = task_.lengths[own(k)];
      shortest_ = length < shortest_ ? length : shortest_;
      longest_ = length > longest_ ? length : longest_;
      lengths[k] = static_cast<T>(length);
    }
    lengths_ = load_as<V>(lengths);
  }

  template <bool kLagged>
  void sum_blocks(std::int64_t block) {
    BlockMoments moments;
    first_pass<kLagged>(moments);
    second_pass<kLagged>(moments);
    write(moments, block);
    Total probe = moments.squares;
    unrolled<kParts>(
        [&](auto p) { probe.part[p] += moments.steps.part[p] + moments.residual.part[p]; });
    if constexpr (kLagged) {
      sum_products(block, probe);
      sum_edges(moments, block);
    }
    redo_poor(moments, probe, block);
  }

  // Steps from `t` on into values_ and `steps`. A lane that has ended reads some other values.
  TOKFRAG_INLINE void load_tile(std::int64_t t, V* steps) {
    const T* from[kWide];
    for (int k = 0; k < kWide; ++k) from[k] = at_[k] + t;
    if (t > shortest_ + reach_) {
      for (int k = 0; k < kWide; ++k) {
        const std::int64_t most = static_cast<std::int64_t>(lengths_[k]) + reach_;
        from[k] = at_[k] + (t < most ? t : most);
      }
    }
    unrolled<kTile / kAtOnce<T>>(
        [&](auto part) { load_steps(from, part * kAtOnce<T>, steps + part * kAtOnce<T>); });
    unrolled<kTile>([&](auto i) { values_[t + i] = steps[i]; });
  }

  // Values, their extremes, squared steps, and a pivot near the mean.
  template <bool kLagged>
  void first_pass(BlockMoments& moments) {
    T firsts[kWide];
    for (int k = 0; k < kWide; ++k) firsts[k] = at_[k][0];
    V previous = load_as<V>(firsts);
    V low = previous;
    V high = previous;
    V sum = {};
    V steps = {};
    std::int64_t t = 0;
    const auto flush = [&] __attribute__((always_inline)) {
      t += kTile;
      if (t % kSpan != 0) return;
      moments.steps.add(steps);
      steps = V{};
    };
    for (; t + kTile <= shortest_; flush()) {
      V sums[2] = {};
      V squares[2] = {};
      unrolled<kTile / kAtOnce<T>>([&](auto part) {
        V y[kAtOnce<T>];
        load_steps(at_, t + part * kAtOnce<T>, y);
        unrolled<kAtOnce<T>>([&](auto i) {
          constexpr int turn = i % 2;
          constexpr bool is_new = part == 0 && i < 2;
          const V& value = y[i];
          values_[t + part * kAtOnce<T> + i] = value;
          previous -= value;
          previous *= previous;
          if constexpr (is_new) {
            sums[turn] = value;
            squares[turn] = previous;
          } else {
            sums[turn] += value;
            squares[turn] += previous;
          }
          low = smaller(value, low);
          high = greater(value, high);
          previous = value;
        });
      });
      fetch_ahead(t);
      sum += sums[0] + sums[1];
      steps += squares[0] + squares[1];
    }
    // Where some lanes have ended: a value that is not there is the one before it.
    for (; t < longest_; flush()) {
      V y[kTile];
      load_tile(t, y);
      for (int i = 0; i < kTile; ++i) {
        const auto there = splat_of(t + i) < lengths_;
        const V value = there ? y[i] : previous;
        const V step = previous - value;
        sum += there ? value : V{};
        steps += step * step;
        low = smaller(value, low);
        high = greater(value, high);
        previous = value;
      }
    }
    moments.steps.add(steps);
    if constexpr (kLagged) {
      V y[kTile];
      for (; t < longest_ + reach_; t += kTile) load_tile(t, y);
    }
    moments.least = low;
    moments.greatest = high;
    moments.last = previous;
    sum /= lengths_;
    sum = sum < low ? low : sum;
    moments.pivot = sum > high ? high : sum;
  }

  // Deviations, which lags read again, and their squares.
  template <bool kLagged>
  void second_pass(BlockMoments& moments) {
    const V pivot = moments.pivot;
    V residual = {};
    V squares = {};
    std::int64_t t = 0;
    const auto flush = [&] __attribute__((always_inline)) {
      if (t % kSpan != 0) return;
      moments.squares.add(squares);
      squares = V{};
    };
    for (; t + kTile <= shortest_; flush()) {
      V sums[2];
      V tile[2];
      unrolled<kTile>([&](auto i) {
        V value = values_[t + i] - pivot;
        if constexpr (kLagged) values_[t + i] = value;
        if constexpr (i < 2) {
          sums[i] = value;
          tile[i] = value * value;
        } else {
          sums[i % 2] += value;
          tile[i % 2] += value * value;
        }
      });
      residual += sums[0] + sums[1];
      squares += tile[0] + tile[1];
      t += kTile;
    }
    for (; t < longest_; ++t, flush()) {
      const V value = values_[t] - pivot;
      if constexpr (kLagged) values_[t] = value;
      const V known = splat_of(t) < lengths_ ? value : V{};
      residual += known;
      squares += known * known;
    }
    moments.squares.add(squares);
    moments.residual.add(residual);
    unrolled<kParts>(
        [&](auto p) { moments.offset.part[p] = moments.residual.part[p] / part_of<p>(lengths_); });
    if constexpr (kLagged) {
      for (; t < longest_ + reach_; ++t) values_[t] -= pivot;
    }
  }

  // Asks for as many bytes of the next blocks as a tile has.
  TOKFRAG_INLINE void fetch_ahead(std::int64_t t) const {
    constexpr int kLine = 64;
    const std::uintptr_t from = ahead_ + static_cast<std::uintptr_t>(t * kVectorBytes);
    unrolled<kTile * kVectorBytes / kLine>(
        [&](auto line) { __builtin_prefetch(reinterpret_cast<const void*>(from + line * kLine)); });
  }

  // All lagged products; `probe` is finite if they are.
  void sum_products(std::int64_t block, Total& probe) {
    std::int64_t k = 0;
    for (; k + kLagGroup <= task_.lag_count; k += kLagGroup) {
      sum_group<kLagGroup>(block, k, probe);
    }
    for (; k < task_.lag_count; ++k) sum_group<1>(block, k, probe);
  }

  // Those of kLags lags from number `first` on.
  template <int kLags>
  void sum_group(std::int64_t block, std::int64_t first, Total& probe) {
    const std::int64_t* lags = task_.lags + first;
    Total totals[kLags];
    V sums[kLags];
    unrolled<kLags>([&](auto k) { sums[k] = V{}; });
    std::int64_t t = 0;
    for (; t + kTile + lags[kLags - 1] <= shortest_; t += kTile) {
      V tile[kLags];
      const V* from = values_ + t;
      unrolled<kLags>([&](auto k) { tile[k] = from[0] * from[lags[k]]; });
      unrolled<kTile - 1>([&](auto i) {
        const V value = from[i + 1];
        unrolled<kLags>([&](auto k) { tile[k] += value * from[lags[k] + i + 1]; });
      });
      unrolled<kLags>([&](auto k) { sums[k] += tile[k]; });
      if ((t + kTile) % kSpan == 0) {
        unrolled<kLags>([&](auto k) {
          totals[k].add(sums[k]);
          sums[k] = V{};
        });
      }
    }
    unrolled<kLags>([&](auto k) { finish_lag(block, first + k, t, sums[k], totals[k], probe); });
  }

  // The products from step `t` on, of which some lead out of a block, and the sums at its end.
  void finish_lag(std::int64_t block, std::int64_t k, std::int64_t t, V sum, Total total,
                  Total& probe) {
    const std::int64_t lag = task_.lags[k];
    V out = {};
    V tail = {};
    V after = {};
    const auto leave = [&](const V& value, const V& later) __attribute__((always_inline)) {
      out += value * later;
      tail += value;
      after += later;
    };
    // Together as far as no block has ended, then up to the longest one's end.
    for (; t + lag < shortest_; ++t) sum += values_[t] * values_[t + lag];
    if (shortest_ == longest_) {
      for (; t < longest_; ++t) leave(values_[t], values_[t + lag]);
    }
    for (; t < longest_; ++t) {
      const V zero = {};
      const V time = splat_of(t);
      const auto inside = splat_of(t + lag) < lengths_;
      const auto leaves = (time < lengths_) & ~inside;
      sum += inside ? values_[t] * values_[t + lag] : zero;
      leave(leaves ? values_[t] : zero, leaves ? values_[t + lag] : zero);
    }
    total.add(sum);
    const BlockSums& sums = task_.sums;
    const std::int64_t at = k * sums.apart + block;
    unrolled<kParts>([&](auto p) {
      const std::int64_t from = at + p * kLanes;
      const Doubles leaving = part_of<p>(out);
      store(sums.products + from, total.part[p]);
      store(sums.products_out + from, leaving);
      // Not yet less the means: see sum_edges.
      store(sums.edges + from, part_of<p>(tail));
      store(sums.edges_out + from, part_of<p>(after));
      probe.part[p] += total.part[p] + leaving;
    });
  }

  // From sums about the pivot to sums about the mean.
  void write(const BlockMoments& moments, std::int64_t block) const {
    const BlockSums& sums = task_.sums;
    T next[kWide];
    for (int k = 0; k < kWide; ++k) next[k] = at_[k][static_cast<std::int64_t>(lengths_[k])];
    const V after = load_as<V>(next);
    unrolled<kParts>([&](auto p) {
      const std::int64_t at = block + p * kLanes;
      const Doubles& residual = moments.residual.part[p];
      const Doubles& offset = moments.offset.part[p];
      const Doubles squares = moments.squares.part[p] - residual * offset;
      const Doubles step = part_of<p>(after) - part_of<p>(moments.last);
      store(sums.mean + at, part_of<p>(moments.pivot) + offset);
      store(sums.squares + at, squares < 0 ? Doubles{} : squares);
      store(sums.least + at, part_of<p>(moments.least));
      store(sums.greatest + at, part_of<p>(moments.greatest));
      store(sums.steps + at, moments.steps.part[p]);
      store(sums.step_out + at, step * step);
    });
  }

  void sum_edges(const BlockMoments& moments, std::int64_t block) const {
    const BlockSums& sums = task_.sums;
    V head = {};
    std::int64_t t = 0;
    for (std::int64_t k = 0; k < task_.lag_count; ++k) {
      for (; t < task_.lags[k]; ++t) head += values_[t];
      const auto lag = static_cast<double>(task_.lags[k]);
      unrolled<kParts>([&](auto p) {
        const std::int64_t at = k * sums.apart + block + p * kLanes;
        const Doubles count = part_of<p>(lengths_);
        const Doubles& residual = moments.residual.part[p];
        const Doubles& offset = moments.offset.part[p];
        const Doubles tail = load(sums.edges + at);
        const Doubles edges = 2.0 * residual - part_of<p>(head) - tail;
        const Doubles edges_out = tail + load(sums.edges_out + at);
        const Doubles shift = (count - lag) * offset;
        const Doubles shift_out = lag * offset;
        store(sums.edges + at, edges - 2.0 * shift);
        store(sums.edges_out + at, edges_out - 2.0 * shift_out);
        store(sums.products + at, load(sums.products + at) + offset * (shift - edges));
        store(sums.products_out + at,
              load(sums.products_out + at) + offset * (shift_out - edges_out));
      });
    }
  }

  // Blocks whose sums lanes of T do not hold.
  void redo_poor(const BlockMoments& moments, const Total& probe, std::int64_t block) {
    constexpr double kMost = std::numeric_limits<double>::max();
    Longs bad[kParts];
    Longs any = {};
    unrolled<kParts>([&](auto p) {
      const Doubles& sum = probe.part[p];
      bad[p] = ~((sum <= kMost) & (sum >= -kMost));
      if constexpr (std::is_same_v<T, float>) {
        bad[p] |= (moments.squares.part[p] < kLeastSquares) &
                  (part_of<p>(moments.least) < part_of<p>(moments.greatest));
      }
      any |= bad[p];
    });
    if (!any_of(any)) return;
    wild_ = true;
    const std::int64_t more = task_.count - block;
    for (int k = 0; k < kWide && k < more; ++k) {
      if (bad[k / kLanes][k % kLanes] != 0) sum_in_double(task_, at_[k], block + k);
    }
  }

  const BlockTask& task_;
  const std::int64_t reach_;
  const T* at_[kWide] = {};
  V lengths_ = {};
  std::int64_t shortest_ = 0;
  std::int64_t longest_ = 0;
  std::uintptr_t ahead_ = 0;  // the blocks that will be summed after the next ones
  bool wild_ = false;
  V values_[kRoom];  // of a step; then deviations, if lags want them
};

template <class T>
bool sum_blocks(const BlockTask& task) {
  return BlockSummer<T>(task).run();
}

template <class T>
void load_floats(const void* data, std::int64_t stride, std::int64_t count, float* out) {
  if (stride == static_cast<std::int64_t>(sizeof(T))) {
    const T* values = static_cast<const T*>(data);
    for (std::int64_t i = 0; i < count; ++i) out[i] = real_of<float>(values[i]);
    return;
  }
  const char* at = static_cast<const char*>(data);
  for (std::int64_t i = 0; i < count; ++i, at += stride) {
    T value;
    std::memcpy(&value, at, sizeof value);
    out[i] = real_of<float>(value);
  }
}

}  // namespace

extern const BlockKernels block_kernel_table;
const BlockKernels block_kernel_table = {
    sum_blocks<float>,
    sum_blocks<double>,
    {nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, load_floats<Half>, load_floats<BFloat16>,
     load_floats<float>, nullptr},
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
