#include "core/simd.hpp"
#include "fragments/features/extremes.hpp"
#include "fragments/features/joining.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

constexpr int kLagGroup = 3;  // lags joined at once

// ---- windows, V at a time: a register of doubles, or one

TOKFRAG_INLINE void load_lanes(const double* from, double& to) { to = *from; }
TOKFRAG_INLINE void load_lanes(const double* from, Doubles& to) { to = load(from); }
TOKFRAG_INLINE void store_lanes(double* to, const double& value) { *to = value; }
TOKFRAG_INLINE void store_lanes(double* to, const Doubles& value) { store(to, value); }

// The lanes kPast places past `from`, which is where lines begin: two lines make as many loads as
// there are places, where a load of its own would cross them.
template <int kPast>
TOKFRAG_INLINE void load_past(const double* from, double& to) {
  to = from[kPast];
}
template <int kPast>
TOKFRAG_INLINE void load_past(const double* from, Doubles& to) {
#if defined(__AVX512F__)
  if constexpr (kPast % kLanes != 0) {
    const double* line = from + kPast / kLanes * kLanes;
    to = bits_as<Doubles>(_mm512_maskz_alignr_epi64(0xff, bits_as<__m512i>(load(line + kLanes)),
                                                    bits_as<__m512i>(load(line)), kPast % kLanes));
    return;
  }
#endif
  to = load(from + kPast);
}

// The blocks of some windows. kCount: how many a window has; 0: any number.
template <int kCount>
struct BlockRun {
  std::int64_t first;
  std::int64_t last;

  // body(load) for every block, but for the last `kBut`, where load(array, to) reads a number of
  // it.
  template <int kBut, class Body>
  TOKFRAG_INLINE void each(const Body& body) const {
    if constexpr (kCount > 0) {
      unrolled<kCount - kBut>([&](auto i) {
        body([&](const double* array, auto& to)
                 __attribute__((always_inline)) { load_past<i>(array + first, to); });
      });
    } else {
      for (std::int64_t b = first; b < last - kBut; ++b) {
        body([&](const double* array, auto& to)
                 __attribute__((always_inline)) { load_lanes(array + b, to); });
      }
    }
  }
};

template <bool kGreatest, bool kWild, class V>
TOKFRAG_INLINE void keep(V& best, const V& value) {
  if constexpr (!kWild) {
    best = nearer<kGreatest>(value, best);
  } else if constexpr (std::is_same_v<V, double>) {
    best = extreme<kGreatest>(best, value);
  } else {
    keep_extreme<kGreatest>(best, value);
  }
}

// What the blocks of windows of mean `mean` have in common: sum c (2 R + n c).
template <class V, class Run>
TOKFRAG_INLINE V moved(const BlockSums& blocks, const Run& run, const V& mean) {
  V sum = {};
  run.template each<0>([&](const auto& read) __attribute__((always_inline)) {
    V value;
    read(blocks.pivot, value);
    const V apart = value - mean;
    read(blocks.count, value);
    const V far = value * apart;
    read(blocks.residual, value);
    sum += apart * (value + (value + far));
  });
  return sum;
}

// Lags `k` to k + kLags of windows; `about` is what moved() gives.
template <int kLags, class V, class Run>
TOKFRAG_INLINE void join_lags(const WindowTask& task, std::int64_t window, const Run& run,
                              std::int64_t k, const V& mean, const V& about) {
  const BlockSums& blocks = task.blocks;
  V sums[kLags];
  unrolled<kLags>([&](auto i) { sums[i] = about; });
  run.template each<1>([&](const auto& read) __attribute__((always_inline)) {
    V apart;
    read(blocks.pivot, apart);
    apart -= mean;
    unrolled<kLags>([&](auto i) {
      V value;
      read(blocks.all_products + (k + i) * blocks.apart, value);
      sums[i] += value;
      read(blocks.turns + (k + i) * blocks.apart, value);
      sums[i] += value * apart;
    });
  });
  const std::int64_t last = run.last - 1;
  V apart;
  load_lanes(blocks.pivot + last, apart);
  apart -= mean;
  unrolled<kLags>([&](auto i) {
    const std::int64_t from = (k + i) * blocks.apart + last;
    const auto lag = static_cast<double>(task.lags[k + i]);
    V value;
    load_lanes(blocks.products + from, value);
    sums[i] += value;
    load_lanes(blocks.ends + from, value);
    sums[i] -= apart * (value + lag * apart);
    store_lanes(task.products + (k + i) * task.count + window, sums[i]);
  });
}

// The window `window` and those after it that V has lanes for.
template <bool kWild, class V, class Run>
TOKFRAG_INLINE void join_windows(const WindowTask& task, std::int64_t window, const Run& run) {
  const BlockSums& blocks = task.blocks;
  const V zero = {};
  V total = zero;
  V squares = zero;
  V least;
  V greatest;
  load_lanes(blocks.least + run.first, least);
  load_lanes(blocks.greatest + run.first, greatest);
  run.template each<0>([&](const auto& read) __attribute__((always_inline)) {
    V count;
    V value;
    read(blocks.count, count);
    read(blocks.pivot, value);
    total += count * value;
    read(blocks.residual, value);
    total += value;
    read(blocks.squares, value);
    squares += value;
    read(blocks.least, value);
    keep<false, kWild>(least, value);
    read(blocks.greatest, value);
    keep<true, kWild>(greatest, value);
  });
  V steps = zero;
  if (task.steps) {
    run.template each<1>([&](const auto& read) __attribute__((always_inline)) {
      V value;
      read(blocks.steps, value);
      steps += value;
      read(blocks.step_out, value);
      steps += value;
    });
    V value;
    load_lanes(blocks.steps + run.last - 1, value);
    steps += value;
  }
  const V mean = total / task.values;
  const V about = task.squares ? moved(blocks, run, mean) : zero;
  store_lanes(task.mean + window, mean);
  if (task.least) store_lanes(task.least + window, least);
  if (task.greatest) store_lanes(task.greatest + window, greatest);
  if (task.steps) store_lanes(task.steps + window, steps);
  if (!task.squares) return;
  squares += about;
  const V spread = greatest - least;
  // Rounding may leave less than nothing.
  store_lanes(task.squares + window, V((spread == zero) | (squares < zero) ? zero : squares));
  std::int64_t k = 0;
  for (; k + kLagGroup <= task.lag_count; k += kLagGroup) {
    join_lags<kLagGroup>(task, window, run, k, mean, about);
  }
  for (; k < task.lag_count; ++k) join_lags<1>(task, window, run, k, mean, about);
}

// The first windows, that are each as many blocks; gives how many are done. The last register takes
// some windows again rather than none.
template <bool kWild, int kCount>
std::int64_t join_even(const WindowTask& task, std::int64_t count) {
  if (task.even < kLanes) return 0;
  for (std::int64_t w = 0; w < task.even; w += kLanes) {
    const std::int64_t from = w + kLanes <= task.even ? w : task.even - kLanes;
    join_windows<kWild, Doubles>(task, from, BlockRun<kCount>{from, from + count});
  }
  return task.even;
}

template <bool kWild>
void join_all(const WindowTask& task) {
  std::int64_t w = 0;
  if (task.even > 0) {
    const std::int64_t count = task.last[0] - task.first[0];
    w = count == 4   ? join_even<kWild, 4>(task, count)
        : count == 2 ? join_even<kWild, 2>(task, count)
                     : join_even<kWild, 0>(task, count);
  }
  for (; w < task.count; ++w) {
    join_windows<kWild, double>(task, w, BlockRun<0>{task.first[w], task.last[w]});
  }
}

void join(const WindowTask& task) {
  if (task.wild) {
    join_all<true>(task);
  } else {
    join_all<false>(task);
  }
}

}  // namespace

extern const JoiningKernels joining_kernel_table;
const JoiningKernels joining_kernel_table = {join};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
