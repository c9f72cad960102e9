#include <cmath>
#include <cstring>
#include <limits>

#include "fragments/features/blocks.hpp"
#include "fragments/features/pack.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// Squares of floats below have lost digits.
constexpr double kLeastSquares = 1e-25;
constexpr std::int64_t kRoom = 2 * kBlockMost + kBlockSlack;  // a block and the longest lag

// A pivot less a block's values (a load can then be part of the subtraction); `inside` is followed
// by zeros, `after` is what follows the block.
template <class T>
struct Deviations {
  alignas(64) T inside[kRoom];
  alignas(64) T after[kRoom];
};

// What one block adds up to, about its pivot.
struct Moments {
  double pivot;
  double residual;  // sum of the deviations
  double squares;
  double least;
  double greatest;
  double steps;
};

template <class T>
class BlockSummer {
 public:
  explicit BlockSummer(const BlockTask& task)
      : task_(task), reach_(task.lag_count > 0 ? task.lags[task.lag_count - 1] : 0) {}

  void run() {
    const T* row = static_cast<const T*>(task_.row);
    const std::int64_t* begins = task_.begins;
    const std::int64_t* lengths = task_.lengths;
    double* step_out = task_.sums.step_out;
    const std::int64_t count = task_.count;
    for (std::int64_t block = 0; block < count; ++block) {
      const T* x = row + begins[block];
      const std::int64_t n = lengths[block];
      if (!by_lanes(x, n, block)) in_double(x, n, block);
      const double step = static_cast<double>(x[n]) - static_cast<double>(x[n - 1]);
      step_out[block] = step * step;
    }
  }

 private:
  static constexpr std::int64_t kPack = kPackOf<T>;
  static constexpr int kLagGroup = 3;  // lags at once: there are registers for as many
  static constexpr std::int64_t kAnyLength = -1;
  static constexpr std::int64_t kWholePacks = 0;

  // False if lanes of T do not hold the sums.
  TOKFRAG_INLINE bool by_lanes(const T* x, std::int64_t n, std::int64_t block) {
    return reach_ > 0 ? by_length<true>(x, n, block) : by_length<false>(x, n, block);
  }

  template <bool kLagged>
  TOKFRAG_INLINE bool by_length(const T* x, std::int64_t n, std::int64_t block) {
    if (n == 64) return by_lanes_of<64, kLagged>(x, n, block);
    if (n == 128) return by_lanes_of<128, kLagged>(x, n, block);
    if (n % kPack == 0) return by_lanes_of<kWholePacks, kLagged>(x, n, block);
    return by_lanes_of<kAnyLength, kLagged>(x, n, block);
  }

  // The same, of blocks of `kLength`. Not inlined, for each has use for all registers.
  template <std::int64_t kLength, bool kLagged>
  [[gnu::noinline]] bool by_lanes_of(const T* x, std::int64_t given, std::int64_t block) {
    constexpr bool kWhole = kLength != kAnyLength;
    const std::int64_t n = kLength > 0 ? kLength : given;
    Moments moments;
    T least;
    T greatest;
    const T mean = first_pass<kWhole>(x, n, moments, least, greatest) / static_cast<T>(n);
    const T pivot = mean < least ? least : mean > greatest ? greatest : mean;
    moments.pivot = static_cast<double>(pivot);
    second_pass<kWhole, kLagged>(x, n, pivot, moments);
    double probe = moments.squares + moments.steps + moments.residual;
    if (std::is_same_v<T, float> && moments.squares < kLeastSquares && least < greatest) {
      return false;
    }
    if constexpr (kLagged) probe += sum_products(n, block);
    if (!(std::abs(probe) <= std::numeric_limits<double>::max())) return false;
    write(moments, n, block);
    if constexpr (kLagged) sum_edges(deviations_, moments, n, block);
    return true;
  }

  // Returns the total.
  template <bool kWhole>
  TOKFRAG_INLINE static T first_pass(const T* x, std::int64_t n, Moments& moments, T& least,
                                     T& greatest) {
    const Pack<T> first = pack_of(x[0]);
    Pack<T> sum = {};
    Pack<T> steps = {};
    Pack<T> low = first;
    Pack<T> high = first;
    Pack<T> value;
    Pack<T> step;
    std::int64_t t = 0;
    // Steps backwards, for the same reason as deviations.
    const auto add = [&](std::int64_t at) __attribute__((always_inline)) {
      load_pack(x + at, value);
      load_pack(x + at + 1, step);
      sum += value;
      keep_extremes(value, low, high);
      value -= step;
      value *= value;
      steps += value;
    };
#pragma GCC unroll 4
    for (; t + kPack < n; t += kPack) add(t);
    const std::int64_t rest = kWhole ? kPack : n - t;
    load_pack(x + t, value);
    load_pack(x + t + 1, step);
    step -= value;
    step *= step;
    keep_first(step, rest - 1);
    steps += step;
    if constexpr (kWhole) {
      sum += value;
    } else {
      Pack<T> known = value;
      keep_first(known, rest);
      sum += known;
      replace_rest(value, rest, first);
    }
    keep_extremes(value, low, high);
    least = fold_of<Least>(low);
    greatest = fold_of<Greatest>(high);
    moments.least = static_cast<double>(least);
    moments.greatest = static_cast<double>(greatest);
    moments.steps = total_of(steps);
    return fold_of<Sum>(sum);
  }

  TOKFRAG_INLINE static void keep_extremes(const Pack<T>& value, Pack<T>& low, Pack<T>& high) {
    unrolled<kParts>([&](auto k) {
      low.part[k] = smaller(value.part[k], low.part[k]);
      high.part[k] = greater(value.part[k], high.part[k]);
    });
  }

  template <bool kWhole, bool kLagged>
  TOKFRAG_INLINE void second_pass(const T* x, std::int64_t n, T pivot, Moments& moments) {
    const Pack<T> about = pack_of(pivot);
    Pack<T> residual = {};
    Pack<T> squares = {};
    Pack<T> value;
    std::int64_t t = 0;
    const auto add = [&] __attribute__((always_inline)) {
      if constexpr (kLagged) store_pack(value, deviations_.inside + t);
      residual += value;
      value *= value;
      squares += value;
      t += kPack;
    };
    const auto deviate = [&](std::int64_t at) __attribute__((always_inline)) {
      Pack<T> from;
      load_pack(x + at, from);
      value = about;
      value -= from;
    };
    const auto add_next = [&] __attribute__((always_inline)) {
      deviate(t);
      add();
    };
#pragma GCC unroll 4
    while (t + kPack < n) add_next();
    deviate(t);
    if constexpr (!kWhole) keep_first(value, n - t);
    add();
    moments.residual = total_of(residual);
    moments.squares = total_of(squares);
    if constexpr (kLagged) {
      const std::int64_t end = t + reach_;
      for (; t < end; t += kPack) store_pack(Pack<T>{}, deviations_.inside + t);
      for (t = 0; t < reach_; t += kPack) {
        deviate(n + t);
        keep_first(value, reach_ - t);
        store_pack(value, deviations_.after + t);
      }
    }
  }

  // All lagged products; returns a number that is finite if they are.
  double sum_products(std::int64_t n, std::int64_t block) const {
    double probe = 0;
    std::int64_t k = 0;
    for (; k + kLagGroup <= task_.lag_count; k += kLagGroup) {
      probe += sum_group<kLagGroup>(n, k, block);
    }
    for (; k < task_.lag_count; ++k) probe += sum_group<1>(n, k, block);
    return probe;
  }

  // Those of kLags lags from number `first` on.
  template <int kLags>
  TOKFRAG_INLINE double sum_group(std::int64_t n, std::int64_t first, std::int64_t block) const {
    const T* inside = deviations_.inside;
    const std::int64_t* lags = task_.lags + first;
    const std::int64_t apart = task_.sums.apart;
    double* products = task_.sums.products + first * apart + block;
    double* products_out = task_.sums.products_out + first * apart + block;
    Pack<T> sums[kLags];
    Pack<T> from;
    unrolled<kLags>([&](auto k) { sums[k] = Pack<T>{}; });
    for (std::int64_t t = 0; t < n; t += kPack) {
      load_pack(inside + t, from);
      unrolled<kLags>([&](auto k) { add_product(inside + t + lags[k], from, sums[k]); });
    }
    double probe = 0;
    unrolled<kLags>([&](auto k) {
      Pack<T> out = {};
      for (std::int64_t t = 0; t < lags[k]; t += kPack) {
        load_pack(inside + n - lags[k] + t, from);
        add_product(deviations_.after + t, from, out);
      }
      products[k * apart] = total_of(sums[k]);
      products_out[k * apart] = total_of(out);
      probe += products[k * apart] + products_out[k * apart];
    });
    return probe;
  }

  TOKFRAG_INLINE static void add_product(const T* at, const Pack<T>& from, Pack<T>& sum) {
    Pack<T> product;
    load_pack(at, product);
    product *= from;
    sum += product;
  }

  // The same by the definition, one value after another.
  void in_double(const T* x, std::int64_t n, std::int64_t block) {
    Moments moments = {};
    moments.least = moments.greatest = static_cast<double>(x[0]);
    double total = 0;
    for (std::int64_t t = 0; t < n; ++t) {
      const auto value = static_cast<double>(x[t]);
      total += value;
      moments.least = extreme<false>(moments.least, value);
      moments.greatest = extreme<true>(moments.greatest, value);
    }
    moments.pivot = total / static_cast<double>(n);
    for (std::int64_t t = 0; t < n + reach_; ++t) {
      const double value = moments.pivot - static_cast<double>(x[t]);
      if (t >= n) {
        wide_.inside[t] = 0;
        wide_.after[t - n] = value;
        continue;
      }
      wide_.inside[t] = value;
      moments.squares += value * value;
      if (t + 1 == n) continue;
      const double step = static_cast<double>(x[t + 1]) - static_cast<double>(x[t]);
      moments.steps += step * step;
    }
    for (std::int64_t k = 0; k < task_.lag_count; ++k) {
      const std::int64_t lag = task_.lags[k];
      double products = 0;
      double out = 0;
      for (std::int64_t t = 0; t + lag < n; ++t)
        products += wide_.inside[t] * wide_.inside[t + lag];
      for (std::int64_t t = 0; t < lag; ++t) out += wide_.inside[n - lag + t] * wide_.after[t];
      task_.sums.products[k * task_.sums.apart + block] = products;
      task_.sums.products_out[k * task_.sums.apart + block] = out;
    }
    write(moments, n, block);
    sum_edges(wide_, moments, n, block);
  }

  // From sums about the pivot to sums about the mean.
  void write(const Moments& moments, std::int64_t n, std::int64_t block) const {
    const BlockSums& sums = task_.sums;
    const double offset = moments.residual / static_cast<double>(n);
    sums.mean[block] = moments.pivot - offset;
    const double squares = moments.squares - moments.residual * offset;
    sums.squares[block] = squares < 0 ? 0 : squares;
    sums.least[block] = moments.least;
    sums.greatest[block] = moments.greatest;
    sums.steps[block] = moments.steps;
  }

  template <class Real>
  void sum_edges(const Deviations<Real>& from, const Moments& moments, std::int64_t n,
                 std::int64_t block) const {
    const auto count = static_cast<double>(n);
    const double offset = moments.residual / count;
    double head = 0;
    double tail = 0;
    double after = 0;
    std::int64_t t = 0;
    std::int64_t at = block;
    const BlockSums& sums = task_.sums;
    for (std::int64_t k = 0; k < task_.lag_count; ++k, at += sums.apart) {
      const std::int64_t lag = task_.lags[k];
      for (; t < lag; ++t) {
        head += static_cast<double>(from.inside[t]);
        tail += static_cast<double>(from.inside[n - 1 - t]);
        after += static_cast<double>(from.after[t]);
      }
      const auto pairs = static_cast<double>(lag);
      const double shift = (count - pairs) * offset;
      const double shift_out = pairs * offset;
      const double edges = 2 * moments.residual - head - tail;
      const double edges_out = tail + after;
      sums.edges[at] = 2 * shift - edges;
      sums.products[at] += offset * (shift - edges);
      sums.edges_out[at] = 2 * shift_out - edges_out;
      sums.products_out[at] += offset * (shift_out - edges_out);
    }
  }

  const BlockTask& task_;
  const std::int64_t reach_;
  Deviations<T> deviations_;
  Deviations<double> wide_;
};

// ---- windows, V at a time: a register of doubles, or one

TOKFRAG_INLINE void load_lanes(const double* from, double& to) { to = *from; }
TOKFRAG_INLINE void load_lanes(const double* from, Doubles& to) { to = load(from); }
TOKFRAG_INLINE void store_lanes(double* to, const double& value) { *to = value; }
TOKFRAG_INLINE void store_lanes(double* to, const Doubles& value) { store(to, value); }

template <bool kGreatest, class V>
TOKFRAG_INLINE void keep(V& best, const V& value) {
  if constexpr (std::is_same_v<V, double>) {
    best = extreme<kGreatest>(best, value);
  } else {
    keep_extreme<kGreatest>(best, value);
  }
}

// The window `window` and those after it that V has lanes for: blocks [first, last) and so on.
template <class V>
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
    keep<false>(least, value);
    load_lanes(blocks.greatest + b, value);
    keep<true>(greatest, value);
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

void join(const WindowTask& task) {
  std::int64_t w = 0;
  const std::int64_t each = task.even > 0 ? task.last[0] - task.first[0] : 0;
  for (; w + kLanes <= task.even; w += kLanes) join_windows<Doubles>(task, w, w, w + each);
  for (; w < task.count; ++w) join_windows<double>(task, w, task.first[w], task.last[w]);
}

template <class T>
void sum_blocks(const BlockTask& task) {
  BlockSummer<T>(task).run();
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
    join,
    {nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, load_floats<Half>, load_floats<BFloat16>,
     load_floats<float>, nullptr},
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
