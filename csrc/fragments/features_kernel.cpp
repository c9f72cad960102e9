#include <type_traits>

#include "core/half.hpp"
#include "fragments/features.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// Eight lanes whatever the machine, so that every instruction set adds in the same order. Passed by
// reference only: by value their ABI would depend on the instruction set.
using Lanes = double __attribute__((vector_size(64)));
using HalfLanes = double __attribute__((vector_size(32)));
using Mask = long long __attribute__((vector_size(64)));
constexpr std::int64_t kLanes = 8;

// Lags summed in one sweep: as many as there are registers for.
#ifdef __AVX512F__
constexpr int kLagGroup = 8;
#else
constexpr int kLagGroup = 4;
#endif

inline void load_lanes(const double* from, Lanes& lanes) {
  std::memcpy(&lanes, from, sizeof lanes);
}

inline void store_lanes(const Lanes& lanes, double* to) { std::memcpy(to, &lanes, sizeof lanes); }

// Zero in the lanes from `count` on, whatever they hold.
inline void keep_first(Lanes& lanes, std::int64_t count) {
  const Mask position = {0, 1, 2, 3, 4, 5, 6, 7};
  const Lanes zero = {};
  lanes = position < static_cast<long long>(count) ? lanes : zero;
}

inline double total_of(const Lanes& lanes) {
  HalfLanes low;
  HalfLanes high;
  std::memcpy(&low, &lanes, sizeof low);
  std::memcpy(&high, reinterpret_cast<const char*>(&lanes) + sizeof low, sizeof high);
  low += high;
  return (low[0] + low[2]) + (low[1] + low[3]);
}

template <class T>
double value_of(T value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
    return static_cast<double>(widen(value));
  } else {
    return static_cast<double>(value);
  }
}

template <class T>
void load_row(const void* data, std::int64_t stride, std::int64_t count, double shift,
              double* out) {
  if (stride == static_cast<std::int64_t>(sizeof(T))) {
    const T* values = static_cast<const T*>(data);
    for (std::int64_t i = 0; i < count; ++i) out[i] = value_of(values[i]) - shift;
    return;
  }
  const char* at = static_cast<const char*>(data);
  for (std::int64_t i = 0; i < count; ++i, at += stride) {
    T value;
    std::memcpy(&value, at, sizeof value);
    out[i] = value_of(value) - shift;
  }
}

void load_bool(const void* data, std::int64_t stride, std::int64_t count, double shift,
               double* out) {
  const char* at = static_cast<const char*>(data);
  for (std::int64_t i = 0; i < count; ++i, at += stride) out[i] = (*at != 0 ? 1.0 : 0.0) - shift;
}

// The sweeps: each adds what [begin, end) of a row contributes to `sums`.

template <bool kDifferences>
void sweep_moments(const double* y, std::int64_t begin, std::int64_t end, Lanes* sums) {
  Lanes sum = sums[0];
  Lanes squares = sums[1];
  Lanes differences = sums[2];
  Lanes value;
  Lanes next;
  for (std::int64_t t = begin; t < end; t += kLanes) {
    load_lanes(y + t, value);
    if (t + kLanes > end) keep_first(value, end - t);
    sum += value;
    squares += value * value;
    if constexpr (kDifferences) {
      load_lanes(y + t + 1, next);
      next -= value;
      if (t + kLanes > end) keep_first(next, end - t);
      differences += next * next;
    }
  }
  sums[0] = sum;
  sums[1] = squares;
  sums[2] = differences;
}

void sweep_differences(const double* a, const double* b, std::int64_t begin, std::int64_t end,
                       Lanes& sum) {
  Lanes from;
  Lanes to;
  for (std::int64_t t = begin; t < end; t += kLanes) {
    load_lanes(a + t, from);
    load_lanes(b + t, to);
    to -= from;
    if (t + kLanes > end) keep_first(to, end - t);
    sum += to * to;
  }
}

void sweep_products(const double* a, const double* b, std::int64_t begin, std::int64_t end,
                    Lanes& sum) {
  Lanes from;
  Lanes to;
  for (std::int64_t t = begin; t < end; t += kLanes) {
    load_lanes(a + t, from);
    load_lanes(b + t, to);
    to *= from;
    if (t + kLanes > end) keep_first(to, end - t);
    sum += to;
  }
}

template <int kLags>
void sweep_lags(const double* y, const std::int64_t* lags, std::int64_t begin, std::int64_t end,
                Lanes* sums) {
  Lanes sum[kLags];
  for (int k = 0; k < kLags; ++k) sum[k] = sums[k];
  Lanes value;
  Lanes later;
  std::int64_t t = begin;
  for (; t + kLanes <= end; t += kLanes) {
    load_lanes(y + t, value);
    for (int k = 0; k < kLags; ++k) {
      load_lanes(y + t + lags[k], later);
      sum[k] += value * later;
    }
  }
  if (t < end) {
    load_lanes(y + t, value);
    for (int k = 0; k < kLags; ++k) {
      load_lanes(y + t + lags[k], later);
      later *= value;
      keep_first(later, end - t);
      sum[k] += later;
    }
  }
  for (int k = 0; k < kLags; ++k) sums[k] = sum[k];
}

void sweep_all_lags(const double* y, const std::int64_t* lags, std::int64_t lag_count,
                    std::int64_t begin, std::int64_t end, Lanes* sums) {
  std::int64_t k = 0;
  for (; k + kLagGroup <= lag_count; k += kLagGroup) {
    sweep_lags<kLagGroup>(y, lags + k, begin, end, sums + k);
  }
  for (; k + 2 <= lag_count; k += 2) sweep_lags<2>(y, lags + k, begin, end, sums + k);
  for (; k < lag_count; ++k) sweep_lags<1>(y, lags + k, begin, end, sums + k);
}

// The products of the last `reach` positions before `end`, those that stay before it.
void sweep_lag_tails(const double* y, const std::int64_t* lags, std::int64_t lag_count,
                     std::int64_t end, std::int64_t reach, Lanes* sums) {
  const std::int64_t begin = end - reach;
  if (reach > kLanes) {
    for (std::int64_t k = 0; k < lag_count; ++k) {
      sweep_products(y, y + lags[k], begin, end - lags[k], sums[k]);
    }
    return;
  }
  Lanes value;
  Lanes later;
  load_lanes(y + begin, value);
  for (std::int64_t k = 0; k < lag_count; ++k) {
    load_lanes(y + begin + lags[k], later);
    later *= value;
    keep_first(later, reach - lags[k]);
    sums[k] += later;
  }
}

// total[k] = sum of pieces[p][k] over the pieces first, ..., last - 1 of a ring, in that order.
template <int kWidth>
void add_pieces(const Lanes* pieces, std::int64_t stride, std::int64_t ring, std::int64_t first,
                std::int64_t last, Lanes* total) {
  std::int64_t slot = first & (ring - 1);
  Lanes sum[kWidth];
  for (int k = 0; k < kWidth; ++k) sum[k] = pieces[slot * stride + k];
  for (std::int64_t p = first + 1; p < last; ++p) {
    slot = p & (ring - 1);
    const Lanes* piece = pieces + slot * stride;
    for (int k = 0; k < kWidth; ++k) sum[k] += piece[k];
  }
  for (int k = 0; k < kWidth; ++k) total[k] = sum[k];
}

template <bool kGreatest>
void keep_extreme(Lanes& best, const Lanes& value) {
  // A NaN is kept: it is unequal to itself, and no comparison replaces it.
  const Mask better = kGreatest ? value > best : value < best;
  const Mask unordered = value != value;
  best = (better | unordered) != 0 ? value : best;
}

template <bool kGreatest>
void clear_extreme(Lanes& best) {
  const double worst = kGreatest ? -__builtin_inf() : __builtin_inf();
  best = Lanes{worst, worst, worst, worst, worst, worst, worst, worst};
}

template <bool kGreatest>
void sweep_extreme(const double* raw, std::int64_t begin, std::int64_t end, Lanes& best) {
  const Mask position = {0, 1, 2, 3, 4, 5, 6, 7};
  Lanes current = best;
  Lanes value;
  Lanes none;
  clear_extreme<kGreatest>(none);
  for (std::int64_t t = begin; t < end; t += kLanes) {
    load_lanes(raw + t, value);
    if (t + kLanes > end) value = position < static_cast<long long>(end - t) ? value : none;
    keep_extreme<kGreatest>(current, value);
  }
  best = current;
}

template <bool kGreatest>
double extreme_of(const Lanes& lanes) {
  double result = lanes[0];
  for (std::int64_t k = 1; k < kLanes; ++k) {
    const double other = lanes[k];
    if (other != other || (kGreatest ? other > result : other < result)) result = other;
  }
  return result;
}

class RowSums {
 public:
  explicit RowSums(const RowTask& task)
      : task_(task),
        differences_(task.slots.differences >= 0),
        reach_(task.lag_count > 0 ? task.lags[task.lag_count - 1] : (differences_ ? 1 : 0)),
        stride_(kMoments + task.lag_count) {}

  void run() {
    if (task_.ring == 0) {
      for (std::int64_t i = 0; i < task_.count; ++i) {
        const std::int64_t start = task_.starts[i];
        Lanes* sums = piece(0);
        clear(sums);
        sweep(start, start + task_.size - reach_, sums);
        finish(i, sums);
      }
    } else {
      run_shared();
    }
  }

 private:
  // Of the lanes of a piece: sum, squares, differences, least, greatest; then a product a lag.
  static constexpr std::int64_t kLeast = 3;
  static constexpr std::int64_t kGreatest = 4;
  static constexpr std::int64_t kMoments = 5;

  Lanes* piece(std::int64_t slot) {
    return reinterpret_cast<Lanes*>(task_.pieces) + slot * stride_;
  }

  double* row(int slot) { return task_.sums + slot * task_.sums_stride; }

  void clear(Lanes* sums) {
    const Lanes zero = {};
    for (std::int64_t k = 0; k < stride_; ++k) sums[k] = zero;
    if (task_.slots.least >= 0) clear_extreme<false>(sums[kLeast]);
    if (task_.slots.greatest >= 0) clear_extreme<true>(sums[kGreatest]);
  }

  void sweep_extremes(std::int64_t begin, std::int64_t end, Lanes* sums) {
    if (task_.slots.least >= 0) sweep_extreme<false>(task_.raw, begin, end, sums[kLeast]);
    if (task_.slots.greatest >= 0) sweep_extreme<true>(task_.raw, begin, end, sums[kGreatest]);
  }

  void sweep(std::int64_t begin, std::int64_t end, Lanes* sums) {
    if (differences_) {
      sweep_moments<true>(task_.y, begin, end, sums);
    } else {
      sweep_moments<false>(task_.y, begin, end, sums);
    }
    sweep_extremes(begin, end, sums);
    sweep_all_lags(task_.y, task_.lags, task_.lag_count, begin, end, sums + kMoments);
  }

  // Cuts the row where a window starts or, `reach_` early, ends; sums each piece once, and each
  // window from its pieces. The last pieces are kept in a ring; its last slot holds the window.
  void run_shared() {
    const std::int64_t ring = task_.ring;
    const std::int64_t body = task_.size - reach_;
    std::int64_t opened = 0;  // windows whose start has been passed
    std::int64_t closed = 0;  // windows done
    std::int64_t at = task_.starts[0];
    std::int64_t next_piece = 0;
    while (closed < task_.count) {
      while (opened < task_.count && task_.starts[opened] == at) {
        task_.first_piece[opened] = next_piece;
        ++opened;
      }
      std::int64_t cut = opened < task_.count ? task_.starts[opened] : at;
      if (closed < opened) {
        const std::int64_t end = task_.starts[closed] + body;
        if (opened == task_.count || end < cut) cut = end;
      } else {
        at = cut;  // a gap between windows
        continue;
      }
      Lanes* sums = piece(next_piece & (ring - 1));
      clear(sums);
      sweep(at, cut, sums);
      ++next_piece;
      at = cut;
      while (closed < opened && task_.starts[closed] + body == at) {
        combine(closed, next_piece);
        ++closed;
      }
    }
  }

  void combine(std::int64_t window, std::int64_t last) {
    const std::int64_t first = task_.first_piece[window];
    Lanes* total = piece(task_.ring);
    add_pieces<kLeast>(piece(0), stride_, task_.ring, first, last, total);
    std::int64_t k = kMoments;
    for (; k + kLagGroup <= stride_; k += kLagGroup) {
      add_pieces<kLagGroup>(piece(0) + k, stride_, task_.ring, first, last, total + k);
    }
    for (; k < stride_; ++k) {
      add_pieces<1>(piece(0) + k, stride_, task_.ring, first, last, total + k);
    }
    if (task_.slots.least >= 0 || task_.slots.greatest >= 0) {
      total[kLeast] = piece(first & (task_.ring - 1))[kLeast];
      total[kGreatest] = piece(first & (task_.ring - 1))[kGreatest];
      for (std::int64_t p = first + 1; p < last; ++p) {
        const Lanes* sums = piece(p & (task_.ring - 1));
        keep_extreme<false>(total[kLeast], sums[kLeast]);
        keep_extreme<true>(total[kGreatest], sums[kGreatest]);
      }
    }
    finish(window, total);
  }

  // Adds what the last `reach_` positions of a window hold, and writes its sums.
  void finish(std::int64_t window, Lanes* sums) {
    const SumSlots& slots = task_.slots;
    const double* y = task_.y;
    const std::int64_t start = task_.starts[window];
    const std::int64_t end = start + task_.size;
    if (reach_ > 0) {
      sweep_moments<false>(y, end - reach_, end, sums);
      sweep_extremes(end - reach_, end, sums);
      if (differences_) sweep_differences(y, y + 1, end - reach_, end - 1, sums[2]);
      sweep_lag_tails(y, task_.lags, task_.lag_count, end, reach_, sums + kMoments);
    }
    if (slots.least >= 0) row(slots.least)[window] = extreme_of<false>(sums[kLeast]);
    if (slots.greatest >= 0) row(slots.greatest)[window] = extreme_of<true>(sums[kGreatest]);
    const double sum = total_of(sums[0]);
    row(slots.sum)[window] = sum;
    if (slots.squares >= 0) row(slots.squares)[window] = total_of(sums[1]);
    if (differences_) row(slots.differences)[window] = total_of(sums[2]);
    std::int64_t lag = 0;
    double edge = 0;
    for (std::int64_t k = 0; k < task_.lag_count; ++k) {
      row(slots.products + static_cast<int>(k))[window] = total_of(sums[kMoments + k]);
      for (; lag < task_.lags[k]; ++lag) edge += y[start + lag] + y[end - 1 - lag];
      row(slots.edges + static_cast<int>(k))[window] = 2 * sum - edge;
    }
  }

  const RowTask& task_;
  const bool differences_;
  const std::int64_t reach_;
  const std::int64_t stride_;
};

void row_sums(const RowTask& task) { RowSums(task).run(); }

void pair_sums(const double* a, const double* b, const std::int64_t* starts, std::int64_t count,
               std::int64_t size, bool difference, double* sums) {
  for (std::int64_t i = 0; i < count; ++i) {
    Lanes sum = {};
    if (difference) {
      sweep_differences(a, b, starts[i], starts[i] + size, sum);
    } else {
      sweep_products(a, b, starts[i], starts[i] + size, sum);
    }
    sums[i] = total_of(sum);
  }
}

void add(double* into, const double* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) into[i] += from[i];
}

void add_scaled(double* into, const double* from, double factor, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) into[i] += factor * from[i];
}

void keep_least(double* into, const double* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    into[i] = from[i] < into[i] || from[i] != from[i] ? from[i] : into[i];
  }
}

void keep_greatest(double* into, const double* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    into[i] = from[i] > into[i] || from[i] != from[i] ? from[i] : into[i];
  }
}

}  // namespace

extern const FeatureKernels feature_kernel_table;
const FeatureKernels feature_kernel_table = {
    {load_bool, load_row<std::uint8_t>, load_row<std::int8_t>, load_row<std::int16_t>,
     load_row<std::int32_t>, load_row<std::int64_t>, load_row<Half>, load_row<BFloat16>,
     load_row<float>, load_row<double>},
    row_sums,
    pair_sums,
    add,
    add_scaled,
    keep_least,
    keep_greatest,
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
