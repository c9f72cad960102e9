#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "fragments/features/block_in_double.hpp"
#include "fragments/features/block_lags.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// Squares of floats below have lost digits.
constexpr double kLeastSquares = 1e-25;
constexpr std::int64_t kRoom = 2 * kBlockMost + kTile;  // steps of a block and of the longest lag

// The sums of a row's blocks. kAdjoining: as BlockGroup says, and there are as many as lanes.
template <class T, bool kAdjoining>
class BlockSummer {
 public:
  explicit BlockSummer(const BlockTask& task)
      : task_(task), lags_(task, static_cast<V*>(task.room) + 2 * kRoom) {
    groups_[0].values = static_cast<V*>(task.room);
    groups_[1].values = groups_[0].values + kRoom;
  }

  // True if some block had to be summed in double.
  bool run() { return task_.lag_count > 0 ? run_all<true>() : run_all<false>(); }

 private:
  using V = LanesOf<T>;
  using Total = LaneTotal<T>;
  using Group = BlockGroup<T, kAdjoining>;
  static constexpr int kWide = Group::kWide;
  static constexpr int kParts = Total::kParts;
  static_assert(3 * kRoom * kVectorBytes <= kBlockRoomBytes, "a summer's room is too small");

  // A group's pivots take long to come: meanwhile the next group is read.
  template <bool kLagged>
  bool run_all() {
    Group* now = &groups_[0];
    Group* next = &groups_[1];
    now->take(task_, 0);
    now->read(lags_.reach(), task_.whole);
    while (now->number + kWide < task_.count) {
      std::int64_t number = now->number + kWide;
      // The last lanes take blocks that have been summed already, or repeat the last one.
      if (kAdjoining && number + kWide > task_.count) number = task_.count - kWide;
      next->take(task_, number);
      next->read(lags_.reach(), task_.whole);
      finish<kLagged>(*now);
      std::swap(now, next);
    }
    finish<kLagged>(*now);
    return wild_;
  }

  // The second pass, and all that goes by the pivots.
  template <bool kLagged>
  void finish(Group& group) {
    const V after = lags_.load_border(group);
    Total residual;
    Total squares;
    second_pass<kLagged>(group, residual, squares);
    write(group, after, residual, squares);
    Total probe;
    unrolled<kParts>(
        [&](auto p) { probe.part[p] = squares.part[p] + group.steps.part[p] + residual.part[p]; });
    if constexpr (kLagged) lags_.run(group, probe);
    redo_poor(group, squares, probe);
  }

  // Deviations, which lags read again, and their squares. They are the pivot less the value: then a
  // load is part of the subtraction.
  template <bool kLagged>
  TOKFRAG_INLINE void second_pass(Group& group, Total& residual, Total& squares) const {
    V* values = group.values;
    const V pivot = group.pivot;
    V residuals = {};
    V span = {};
    std::int64_t t = 0;
    const auto flush = [&] __attribute__((always_inline)) {
      if (t % kSpan != 0) return;
      squares.add(span);
      span = V{};
    };
    for (; t + kTile <= group.shortest; flush()) {
      V sums[2];
      V tile[2];
      unrolled<kTile>([&](auto i) {
        V value = pivot - values[t + i];
        if constexpr (kLagged) values[t + i] = value;
        if constexpr (i < 2) {
          sums[i] = value;
          tile[i] = value * value;
        } else {
          sums[i % 2] += value;
          tile[i % 2] += value * value;
        }
      });
      residuals += sums[0] + sums[1];
      span += tile[0] + tile[1];
      t += kTile;
    }
    for (; t < group.longest; flush()) {
      V sums[2] = {};
      V tile[2] = {};
      for (int i = 0; i < kTile; ++i, ++t) {
        const V known = splat_of<T>(t) < group.lengths ? pivot - values[t] : V{};
        if constexpr (kLagged) values[t] = known;
        sums[i % 2] += known;
        tile[i % 2] += known * known;
      }
      residuals += sums[0] + sums[1];
      span += tile[0] + tile[1];
    }
    squares.add(span);
    residual.add(-residuals);
    if constexpr (kLagged) {
      for (std::int64_t j = 0; j < lags_.reach(); ++j) values[t + j] = V{};
    }
  }

  TOKFRAG_INLINE void write(const Group& group, const V& after, const Total& residual,
                            const Total& squares) const {
    const BlockSums& sums = task_.sums;
    unrolled<kParts>([&](auto p) {
      const std::int64_t at = group.number + p * kLanes;
      const Doubles step = part_of<p>(after) - part_of<p>(group.last);
      store(sums.pivot + at, part_of<p>(group.pivot));
      store(sums.residual + at, residual.part[p]);
      store(sums.squares + at, squares.part[p]);
      store(sums.least + at, part_of<p>(group.least));
      store(sums.greatest + at, part_of<p>(group.greatest));
      store(sums.steps + at, group.steps.part[p]);
      store(sums.step_out + at, step * step);
    });
  }

  // Blocks whose sums lanes of T do not hold.
  TOKFRAG_INLINE void redo_poor(const Group& group, const Total& squares, const Total& probe) {
    constexpr double kMost = std::numeric_limits<double>::max();
    Longs bad[kParts];
    Longs any = {};
    unrolled<kParts>([&](auto p) {
      const Doubles& sum = probe.part[p];
      bad[p] = ~((sum <= kMost) & (sum >= -kMost));
      if constexpr (std::is_same_v<T, float>) {
        bad[p] |= (squares.part[p] < kLeastSquares) &
                  (part_of<p>(group.least) < part_of<p>(group.greatest));
      }
      any |= bad[p];
    });
    if (!any_of(any)) return;
    wild_ = true;
    const std::int64_t more = task_.count - group.number;
    for (int k = 0; k < kWide && k < more; ++k) {
      if (bad[k / kLanes][k % kLanes] != 0)
        sum_in_double(task_, group.begins()(k), group.number + k);
    }
  }

  const BlockTask& task_;
  LagSummer<T, kAdjoining> lags_;
  Group groups_[2];
  bool wild_ = false;
};

template <class T>
bool sum_blocks(const BlockTask& task) {
  if (task.adjoining && task.count >= kWideOf<T>) return BlockSummer<T, true>(task).run();
  return BlockSummer<T, false>(task).run();
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
    {load_floats<Truth>, load_floats<std::uint8_t>, load_floats<std::int8_t>,
     load_floats<std::int16_t>, nullptr, nullptr, load_floats<Half>, load_floats<BFloat16>,
     load_floats<float>, nullptr},
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
