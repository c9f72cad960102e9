#include "core/simd.hpp"
#include "fragments/features/series.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

constexpr int kLagGroup = 8;  // lags summed in one sweep: there are registers for as many

// A product of values of at most 26 bits is exact in a double: fused or not, the sum is the same.
template <bool kExact>
TOKFRAG_INLINE void add_product(Doubles& sum, const Doubles& a, const Doubles& b) {
#if defined(__AVX512F__)
  if constexpr (kExact) {
    sum = _mm512_fmadd_pd(a, b, sum);
    return;
  }
#elif defined(__AVX2__)
  if constexpr (kExact) {
    sum = _mm256_fmadd_pd(a, b, sum);
    return;
  }
#endif
  sum += a * b;
}

// Neighbours in memory, one a lane.
template <class T>
TOKFRAG_INLINE void load_values(const char* at, std::int64_t step, Doubles& lanes) {
  constexpr bool kWhole = !std::is_same_v<T, Truth> && !std::is_same_v<T, std::int64_t>;
  if constexpr (kWhole) {
    if (step == static_cast<std::int64_t>(sizeof(T))) {
      lanes = load(reinterpret_cast<const T*>(at));
      return;
    }
  }
  double widened[kLanes];
  for (std::int64_t k = 0; k < kLanes; ++k) {
    T value;
    std::memcpy(&value, at + k * step, sizeof value);
    widened[k] = real_of<double>(value);
  }
  lanes = load(widened);
}

#ifdef __AVX512F__
inline __m512d unpack_low(__m512 a, __m512 b) {
  return _mm512_castps_pd(
      __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29));
}

inline __m512d unpack_high(__m512 a, __m512 b) {
  return _mm512_castps_pd(
      __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31));
}

// Eight floats from each of eight places, turned while two places fit a register.
inline void load_turned(const char* const (&from)[kLanes], std::int64_t offset,
                        Doubles (&block)[kLanes]) {
  __m512 rows[4];  // of places k and k + 4: the first four of each, then the last four
  unrolled<4>([&](auto k) {
    const float* low = reinterpret_cast<const float*>(from[k] + offset);
    const float* high = reinterpret_cast<const float*>(from[k + 4] + offset);
    rows[k] = _mm512_castps128_ps512(_mm_loadu_ps(low));
    rows[k] = _mm512_mask_broadcast_f32x4(rows[k], 0x00f0, _mm_loadu_ps(high));
    rows[k] = _mm512_mask_broadcast_f32x4(rows[k], 0x0f00, _mm_loadu_ps(low + 4));
    rows[k] = _mm512_mask_broadcast_f32x4(rows[k], 0xf000, _mm_loadu_ps(high + 4));
  });
  const __m512d low[2] = {unpack_low(rows[0], rows[1]), unpack_low(rows[2], rows[3])};
  const __m512d high[2] = {unpack_high(rows[0], rows[1]), unpack_high(rows[2], rows[3])};
  const __m512d columns[4] = {// of the values k and k + 4
                              __builtin_shufflevector(low[0], low[1], 0, 8, 2, 10, 4, 12, 6, 14),
                              __builtin_shufflevector(low[0], low[1], 1, 9, 3, 11, 5, 13, 7, 15),
                              __builtin_shufflevector(high[0], high[1], 0, 8, 2, 10, 4, 12, 6, 14),
                              __builtin_shufflevector(high[0], high[1], 1, 9, 3, 11, 5, 13, 7, 15)};
  unrolled<4>([&](auto k) {
    const __m512 floats = _mm512_castpd_ps(columns[k]);
    block[k] = _mm512_maskz_cvtps_pd(
        0xff, __builtin_shufflevector(floats, floats, 0, 1, 2, 3, 4, 5, 6, 7));
    block[k + 4] = _mm512_maskz_cvtps_pd(
        0xff, __builtin_shufflevector(floats, floats, 8, 9, 10, 11, 12, 13, 14, 15));
  });
}
#endif

// rows[t] = the values at `t` of the `known` pieces at `x`, one a lane, and for `reach` more rows
// of what follows each; lanes past the last piece repeat it.
template <class T>
void load_rows(const char* x, std::int64_t step, std::int64_t stride, std::int64_t reach,
               std::int64_t known, double* rows) {
  const char* from[kLanes];
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    from[lane] = x + (lane < known ? lane : known - 1) * stride * step;
  }
  const std::int64_t ahead = kLanes * stride * step;  // the next group
  std::int64_t t = 0;
  for (std::int64_t done = 0; done < stride; done = t + kLanes) {
    t = done + kLanes <= stride ? done : stride - kLanes;  // the last block may overlap
    Doubles block[kLanes];
    unrolled<kLanes>([&](auto lane) { __builtin_prefetch(from[lane] + t * step + ahead); });
#ifdef __AVX512F__
    if (std::is_same_v<T, float> && step == static_cast<std::int64_t>(sizeof(float))) {
      load_turned(from, t * step, block);
    } else
#endif
    {
      unrolled<kLanes>(
          [&](auto lane) { load_values<T>(from[lane] + t * step, step, block[lane]); });
      transpose(block);
    }
    unrolled<kLanes>([&](auto k) { store(rows + (t + k) * kLanes, block[k]); });
  }
  const char* following = x + ahead;
  for (t = 0; t < reach; ++t, following += step) {
    double* beyond = rows + (stride + t) * kLanes;
    Doubles row;
    row = load(rows + t * kLanes + 1);
    store(beyond, row);
    T last = {};
    if (known > kLanes) std::memcpy(&last, following, sizeof last);  // else in no window's pairs
    beyond[kLanes - 1] = real_of<double>(last);
  }
}

using RowLoad = void (*)(const char* x, std::int64_t step, std::int64_t stride, std::int64_t reach,
                         std::int64_t known, double* rows);
constexpr RowLoad kRowLoads[kDtypes] = {load_rows<Truth>,        load_rows<std::uint8_t>,
                                        load_rows<std::int8_t>,  load_rows<std::int16_t>,
                                        load_rows<std::int32_t>, load_rows<std::int64_t>,
                                        load_rows<Half>,         load_rows<BFloat16>,
                                        load_rows<float>,        load_rows<double>};

struct MomentSums {
  double* total;
  double* squares;
  double* differences;      // those that leave a piece too
  double* differences_cut;  // those that stay in it
};

// Even and odd rows go to sums of their own: additions to one would wait for each other.
template <bool kDifferences, bool kExact>
void sweep_moments(const double* rows, std::int64_t stride, const MomentSums& sums) {
  Doubles total[2] = {};
  Doubles squares[2] = {};
  Doubles differences[2] = {};
  Doubles inside;
  Doubles value;
  Doubles next;
  next = load(rows);
  const auto add_row = [&](auto parity, std::int64_t t) {
    value = next;
    total[parity] += value;
    add_product<kExact>(squares[parity], value, value);
    next = load(rows + (t + 1) * kLanes);
    if constexpr (kDifferences) {
      const Doubles step = next - value;
      differences[parity] += step * step;
    }
  };
  const std::integral_constant<int, 0> even;
  const std::integral_constant<int, 1> odd;
  std::int64_t t = 0;
  for (; t + 3 <= stride; t += 2) {
    add_row(even, t);
    add_row(odd, t + 1);
  }
  if (t + 2 == stride) add_row(even, t++);
  inside = differences[0] + differences[1];
  add_row(odd, t);
  store(sums.total, total[0] + total[1]);
  store(sums.squares, squares[0] + squares[1]);
  if constexpr (kDifferences) {
    store(sums.differences, differences[0] + differences[1]);
    store(sums.differences_cut, inside);
  }
}

// Sums of lag k go to full + k * apart and cut + k * apart: with the pairs that leave a piece, and
// without.
template <int kLags, bool kExact>
void sweep_lags(const double* rows, std::int64_t stride, const std::int64_t* lags,
                std::int64_t apart, double* full, double* cut) {
  Doubles sums[kLags];
  unrolled<kLags>([&](auto k) { sums[k] = Doubles{}; });
  std::int64_t t = 0;
  const auto sweep_to = [&](std::int64_t end) __attribute__((always_inline)) {
    for (; t < end; ++t) {
      const double* row = rows + t * kLanes;
      Doubles value;
      value = load(row);
      unrolled<kLags>([&](auto k) __attribute__((always_inline)) {
        Doubles later;
        later = load(row + lags[k] * kLanes);
        add_product<kExact>(sums[k], value, later);
      });
    }
  };
  unrolled<kLags>([&](auto k) __attribute__((always_inline)) {
    constexpr int lag = kLags - 1 - k;
    sweep_to(stride - lags[lag]);
    store(cut + lag * apart, sums[lag]);
  });
  sweep_to(stride);
  unrolled<kLags>([&](auto k) { store(full + k * apart, sums[k]); });
}

using LagSweep = void (*)(const double* rows, std::int64_t stride, const std::int64_t* lags,
                          std::int64_t apart, double* full, double* cut);
template <bool kExact>
constexpr LagSweep kLagSweeps[] = {
    sweep_lags<1, kExact>, sweep_lags<2, kExact>, sweep_lags<3, kExact>, sweep_lags<4, kExact>,
    sweep_lags<5, kExact>, sweep_lags<6, kExact>, sweep_lags<7, kExact>, sweep_lags<8, kExact>,
};

template <bool kGreatest>
void sweep_extreme(const double* rows, std::int64_t stride, double* extreme) {
  Doubles best;
  Doubles value;
  best = load(rows);
  for (std::int64_t t = 1; t < stride; ++t) {
    value = load(rows + t * kLanes);
    keep_extreme<kGreatest>(best, value);
  }
  store(extreme, best);
}

class SeriesSums {
 public:
  explicit SeriesSums(const SeriesTask& task)
      : task_(task),
        reach_(task.lag_count > 0 ? task.lags[task.lag_count - 1] : 1),
        pieces_(series_pieces(task.count, task.overlap)),
        rows_(task.workspace),
        total_(rows_ + 2 * task.stride * kLanes),
        squares_(total_ + pieces_),
        differences_(squares_ + pieces_),
        differences_cut_(differences_ + pieces_),
        least_(differences_cut_ + pieces_),
        greatest_(least_ + pieces_),
        products_(greatest_ + pieces_),
        products_cut_(products_ + task.lag_count * pieces_),
        heads_(products_cut_ + task.lag_count * pieces_),
        tails_(heads_ + task.lag_count * pieces_) {}

  void run() {
    const std::int64_t known = task_.count + task_.overlap - 1;
    const std::int64_t bytes = task_.stride * task_.step;
    const bool narrow =
        task_.type != Dtype::kI32 && task_.type != Dtype::kI64 && task_.type != Dtype::kF64;
    const bool exact = narrow && task_.shift == 0;
    for (std::int64_t piece = 0; piece < known; piece += kLanes) {
      kRowLoads[static_cast<int>(task_.type)](static_cast<const char*>(task_.x) + piece * bytes,
                                              task_.step, task_.stride, reach_, known - piece,
                                              rows_);
      if (exact) {
        sweep<true>(piece);
      } else {
        sweep<false>(piece);
      }
    }
    add_up();
  }

 private:
  template <bool kExact>
  void sweep(std::int64_t piece) {
    const SumSlots& slots = task_.slots;
    if (slots.least >= 0) sweep_extreme<false>(rows_, task_.stride, least_ + piece);
    if (slots.greatest >= 0) sweep_extreme<true>(rows_, task_.stride, greatest_ + piece);
    if (task_.shift != 0) {
      for (std::int64_t k = 0; k < (task_.stride + reach_) * kLanes; ++k) rows_[k] -= task_.shift;
    }
    const MomentSums moments = {total_ + piece, squares_ + piece, differences_ + piece,
                                differences_cut_ + piece};
    if (slots.differences >= 0) {
      sweep_moments<true, kExact>(rows_, task_.stride, moments);
    } else {
      sweep_moments<false, kExact>(rows_, task_.stride, moments);
    }
    for (std::int64_t k = 0; k < task_.lag_count; k += kLagGroup) {
      const std::int64_t more = task_.lag_count - k;
      kLagSweeps<kExact>[(more < kLagGroup ? more : kLagGroup) - 1](
          rows_, task_.stride, task_.lags + k, pieces_, products_ + k * pieces_ + piece,
          products_cut_ + k * pieces_ + piece);
    }
    sum_ends(piece);
  }

  // Of each piece, the sums of its first and of its last values, as many as each lag is long.
  void sum_ends(std::int64_t piece) {
    Doubles head = {};
    Doubles tail = {};
    Doubles value;
    std::int64_t t = 0;
    for (std::int64_t k = 0; k < task_.lag_count; ++k) {
      for (; t < task_.lags[k]; ++t) {
        value = load(rows_ + t * kLanes);
        head += value;
        value = load(rows_ + (task_.stride - 1 - t) * kLanes);
        tail += value;
      }
      store(heads_ + k * pieces_ + piece, head);
      store(tails_ + k * pieces_ + piece, tail);
    }
  }

  double* row(int slot) { return task_.sums + slot * task_.count; }

  // The sums of all windows from those of their pieces.
  void add_up() {
    const SumSlots& slots = task_.slots;
    add_pieces(total_, total_, row(slots.sum));
    if (slots.squares >= 0) add_pieces(squares_, squares_, row(slots.squares));
    if (slots.differences >= 0) {
      add_pieces(differences_, differences_cut_, row(slots.differences));
    }
    if (slots.least >= 0) keep_pieces<false>(least_, row(slots.least));
    if (slots.greatest >= 0) keep_pieces<true>(greatest_, row(slots.greatest));
    for (int k = 0; k < static_cast<int>(task_.lag_count); ++k) {
      const std::int64_t at = k * pieces_;
      add_pieces(products_ + at, products_cut_ + at, row(slots.products + k));
      const double* total = row(slots.sum);
      const double* head = heads_ + at;
      const double* tail = tails_ + at + task_.overlap - 1;
      double* edges = row(slots.edges + k);
      for (std::int64_t w = 0; w < task_.count; ++w) edges[w] = 2 * total[w] - (head[w] + tail[w]);
    }
  }

  void add_pieces(const double* pieces, const double* last, double* sums) {
    last += task_.overlap - 1;
    for (std::int64_t w = 0; w < task_.count; ++w) sums[w] = last[w];
    for (std::int64_t p = 0; p + 1 < task_.overlap; ++p) {
      for (std::int64_t w = 0; w < task_.count; ++w) sums[w] += pieces[w + p];
    }
  }

  template <bool kGreatest>
  void keep_pieces(const double* pieces, double* extremes) {
    for (std::int64_t w = 0; w < task_.count; ++w) extremes[w] = pieces[w];
    for (std::int64_t p = 1; p < task_.overlap; ++p) {
      for (std::int64_t w = 0; w < task_.count; ++w) {
        extremes[w] = extreme<kGreatest>(extremes[w], pieces[w + p]);
      }
    }
  }

  const SeriesTask& task_;
  const std::int64_t reach_;
  const std::int64_t pieces_;
  double* const rows_;
  double* const total_;
  double* const squares_;
  double* const differences_;
  double* const differences_cut_;
  double* const least_;
  double* const greatest_;
  double* const products_;
  double* const products_cut_;
  double* const heads_;
  double* const tails_;
};

void series_sums(const SeriesTask& task) { SeriesSums(task).run(); }

}  // namespace

extern const SeriesKernels series_kernel_table;
const SeriesKernels series_kernel_table = {series_sums};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
