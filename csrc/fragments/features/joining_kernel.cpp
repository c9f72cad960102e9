#include "core/simd.hpp"
#include "fragments/features/joining.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// ---- windows, V at a time: a register of doubles, or one

TOKFRAG_INLINE void load_lanes(const double* from, double& to) { to = *from; }
TOKFRAG_INLINE void load_lanes(const double* from, Doubles& to) { to = load(from); }
TOKFRAG_INLINE void store_lanes(double* to, const double& value) { *to = value; }
TOKFRAG_INLINE void store_lanes(double* to, const Doubles& value) { store(to, value); }

// The greater or the smaller of two, of which none is NaN.
template <bool kGreatest, class V>
TOKFRAG_INLINE V nearer(const V& a, const V& b) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Doubles>) {
    return kGreatest ? _mm512_maskz_max_pd(0xff, a, b) : _mm512_maskz_min_pd(0xff, a, b);
  }
#elif defined(__AVX__)
  if constexpr (std::is_same_v<V, Doubles>) {
    return kGreatest ? _mm256_max_pd(a, b) : _mm256_min_pd(a, b);
  }
#endif
  return kGreatest ? (a > b ? a : b) : (a < b ? a : b);
}

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

// The window `window` and those after it that V has lanes for: blocks [first, last) and so on.
template <bool kWild, class V>
TOKFRAG_INLINE void join_windows(const WindowTask& task, std::int64_t window, std::int64_t first,
                                 std::int64_t last) {
  const BlockSums& blocks = task.blocks;
  const V zero = {};
  V count;
  V value;
  V total = zero;
  for (std::int64_t b = first; b < last; ++b) {
    load_lanes(blocks.count + b, count);
    load_lanes(blocks.mean + b, value);
    total += count * value;
  }
  const V mean = total / task.values;
  store_lanes(task.total + window, total);

  V least;
  V greatest;
  load_lanes(blocks.least + first, least);
  load_lanes(blocks.greatest + first, greatest);
  V squares = zero;
  for (std::int64_t b = first; b < last; ++b) {
    load_lanes(blocks.count + b, count);
    load_lanes(blocks.mean + b, value);
    const V apart = value - mean;
    load_lanes(blocks.squares + b, value);
    squares += value + count * (apart * apart);
    load_lanes(blocks.least + b, value);
    keep<false, kWild>(least, value);
    load_lanes(blocks.greatest + b, value);
    keep<true, kWild>(greatest, value);
  }
  if (task.least) store_lanes(task.least + window, least);
  if (task.greatest) store_lanes(task.greatest + window, greatest);
  const V spread = greatest - least;
  if (task.squares) store_lanes(task.squares + window, V(spread == zero ? zero : squares));

  if (task.steps) {
    V steps;
    load_lanes(blocks.steps + first, steps);
    for (std::int64_t b = first + 1; b < last; ++b) {
      load_lanes(blocks.step_out + b - 1, value);
      steps += value;
      load_lanes(blocks.steps + b, value);
      steps += value;
    }
    store_lanes(task.steps + window, steps);
  }
  for (std::int64_t k = 0; k < task.lag_count; ++k) {
    const std::int64_t at = k * blocks.apart;
    const auto lag = static_cast<double>(task.lags[k]);
    V products = zero;
    V edges;
    for (std::int64_t b = first; b < last; ++b) {
      load_lanes(blocks.mean + b, value);
      const V apart = value - mean;
      load_lanes(blocks.count + b, count);
      load_lanes(blocks.products + at + b, value);
      load_lanes(blocks.edges + at + b, edges);
      products += value + apart * (edges + (count - lag) * apart);
      if (b + 1 == last) continue;
      load_lanes(blocks.products_out + at + b, value);
      load_lanes(blocks.edges_out + at + b, edges);
      products += value + apart * (edges + lag * apart);
    }
    store_lanes(task.products + k * task.count + window, products);
  }
}

template <bool kWild>
void join_all(const WindowTask& task) {
  std::int64_t w = 0;
  const std::int64_t each = task.even > 0 ? task.last[0] - task.first[0] : 0;
  for (; w + kLanes <= task.even; w += kLanes) join_windows<kWild, Doubles>(task, w, w, w + each);
  for (; w < task.count; ++w) {
    join_windows<kWild, double>(task, w, task.first[w], task.last[w]);
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
