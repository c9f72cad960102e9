#include <type_traits>

#include "core/simd.hpp"
#include "fragments/features/results.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

constexpr std::int64_t kWindows = 64;  // at a time
constexpr std::int64_t kVectors = kWindows / kLanes;
constexpr std::int64_t kColumns = 8;  // at a time

TOKFRAG_INLINE void transpose(Vector<float, 4> (&four)[4]) {
  using Four = Vector<float, 4>;
  const Four low = __builtin_shufflevector(four[0], four[1], 0, 4, 1, 5);
  const Four low_on = __builtin_shufflevector(four[2], four[3], 0, 4, 1, 5);
  const Four high = __builtin_shufflevector(four[0], four[1], 2, 6, 3, 7);
  const Four high_on = __builtin_shufflevector(four[2], four[3], 2, 6, 3, 7);
  four[0] = __builtin_shufflevector(low, low_on, 0, 1, 4, 5);
  four[1] = __builtin_shufflevector(low, low_on, 2, 3, 6, 7);
  four[2] = __builtin_shufflevector(high, high_on, 0, 1, 4, 5);
  four[3] = __builtin_shufflevector(high, high_on, 2, 3, 6, 7);
}

// What the columns of some windows are made of.
struct WindowMoments {
  Doubles mean[kVectors];
  Doubles squares[kVectors];
  Doubles variance[kVectors];
  Doubles scale[kVectors];  // 1 / (variance * values); 0, or anything, where the variance is 0
};

class ResultWriter {
 public:
  explicit ResultWriter(const ResultTask& task) : task_(task) {}

  template <class T>
  bool run() {
    T block[kColumns][kWindows];
    for (std::int64_t w = 0; w < task_.count; w += kWindows) {
      begin_ = task_.sums + w;
      count_ = task_.count - w < kWindows ? task_.count - w : kWindows;
      vectors_ = (count_ + kLanes - 1) / kLanes;
      find_moments();
      for (std::int64_t c = 0; c < task_.column_count; c += kColumns) {
        const std::int64_t more = task_.column_count - c;
        const std::int64_t columns = more < kColumns ? more : kColumns;
        for (std::int64_t k = 0; k < columns; ++k) find_column(task_.columns[c + k], block[k]);
        write_rows(block, columns, static_cast<T*>(task_.out) + w * task_.out_step + c);
      }
    }
    return ill_conditioned_;
  }

 private:
  const double* sums(int slot) const { return begin_ + slot * task_.count; }

  // moment[v] = value(v), for all vectors.
  template <class Value>
  TOKFRAG_INLINE void each(Doubles* moment, const Value& value) const {
    for (std::int64_t v = 0; v < vectors_; ++v) moment[v] = value(v);
  }

  void find_moments() {
    const double* totals = sums(task_.slots.sum);
    const double part = 1 / task_.values;
    each(moments_.mean, [&](std::int64_t v) {
      const Doubles total = load(totals + v * kLanes);
      return task_.central ? total : total / task_.values;
    });
    if (task_.slots.squares < 0) return;
    const double* squares = sums(task_.slots.squares);
    each(moments_.squares, [&](std::int64_t v) { return load(squares + v * kLanes); });
    if (task_.central) {
      each(moments_.variance, [&](std::int64_t v) { return moments_.squares[v] * part; });
      if (task_.lag_pairs != nullptr)
        each(moments_.scale, [&](std::int64_t v) { return 1 / moments_.squares[v]; });
      return;
    }
    each(moments_.variance, [&](std::int64_t v) { return moments_.squares[v] / task_.values; });
    for (std::int64_t v = 0; v < vectors_; ++v) find_variance(v);
  }

  void find_variance(std::int64_t v) {
    const Doubles zero = {};
    const Doubles energy = moments_.variance[v];
    const Doubles mean = moments_.mean[v];
    const Doubles variance = energy - mean * mean;
    const Doubles scale = 1.0 / (variance * task_.values);
    moments_.variance[v] = variance;
    moments_.scale[v] = variance == zero ? zero : scale;
    const Longs poor = variance <= kIllConditioned * energy;
    const Longs far = (energy < kLeastEnergy) | (energy > kGreatestEnergy);
    const Longs ill = (energy > zero) & (poor | far);
    for (std::int64_t k = 0; k < kLanes && v * kLanes + k < count_; ++k) {
      ill_conditioned_ = ill_conditioned_ || ill[k] != 0;
    }
  }

  // Every NaN becomes the same one.
  template <class T, class Value>
  TOKFRAG_INLINE void fill(T* column, const Value& value) const {
    const Doubles nan = splat(__builtin_nan(""));
    for (std::int64_t v = 0; v < vectors_; ++v) {
      const Doubles lanes = value(v);
      store(column + v * kLanes, lanes != lanes ? nan : lanes);
    }
  }

  template <class T>
  void copy(int slot, T* column) const {
    const double* from = sums(slot);
    fill(column, [&](std::int64_t v) { return load(from + v * kLanes); });
  }

  template <class T>
  void find_column(const ResultColumn& column, T* out) const {
    const SumSlots& slots = task_.slots;
    switch (column.feature) {
      case Feature::kMean:
        return fill(out, [&](std::int64_t v) { return moments_.mean[v] + task_.shift; });
      case Feature::kStd:
        return fill(out, [&](std::int64_t v) { return root_of(moments_.variance[v]); });
      case Feature::kMin:
        return copy(slots.least, out);
      case Feature::kMax:
        return copy(slots.greatest, out);
      case Feature::kDiffEnergy: {
        if (!(task_.neighbours > 0)) return copy(slots.differences, out);
        const double* from = sums(slots.differences);
        const double part = 1 / task_.neighbours;
        return fill(out, [&](std::int64_t v) { return load(from + v * kLanes) * part; });
      }
      case Feature::kLagCorr:
        return find_correlation(static_cast<int>(column.lag), out);
    }
  }

  template <class T>
  void find_correlation(int lag, T* out) const {
    const double* products = sums(task_.slots.products + lag);
    if (task_.central) {
      const Doubles zero = {};
      // A quotient is a product with a reciprocal where its last bits are rounded away; no square
      // of a type narrower than double is too small for one.
      return fill(out, [&](std::int64_t v) {
        const Doubles& squares = moments_.squares[v];
        const Doubles product = load(products + v * kLanes);
        const Doubles quotient = sizeof(T) == 8 ? product / squares : product * moments_.scale[v];
        return squares == zero ? zero : quotient;
      });
    }
    const double* edges = sums(task_.slots.edges + lag);
    const double pairs = task_.lag_pairs[lag];
    fill(out, [&](std::int64_t v) {
      const Doubles& mean = moments_.mean[v];
      const Doubles about = mean * (load(edges + v * kLanes) - pairs * mean);
      return (load(products + v * kLanes) - about) * moments_.scale[v];
    });
  }

  static Doubles root_of(const Doubles& squares) {
#if defined(__AVX512F__)
    return _mm512_maskz_sqrt_pd(0xff, squares);
#elif defined(__AVX__)
    return _mm256_sqrt_pd(squares);
#else
    Doubles roots;
    for (int k = 0; k < kLanes; ++k) roots[k] = __builtin_sqrt(squares[k]);
    return roots;
#endif
  }

  // Columns side by side become rows.
  template <class T>
  void write_rows(const T (&block)[kColumns][kWindows], std::int64_t columns, T* row) const {
    std::int64_t c = 0;
    write_part<8>(block, columns, c, row);
    write_part<4>(block, columns, c, row);
    write_part<2>(block, columns, c, row);
    write_part<1>(block, columns, c, row);
  }

  // Of kCount columns from number `c` on, if there are as many.
  template <std::int64_t kCount, class T>
  void write_part(const T (&block)[kColumns][kWindows], std::int64_t columns, std::int64_t& c,
                  T* row) const {
    if (columns - c < kCount) return;
    T* to = row + c;
    std::int64_t w = 0;
    if constexpr (std::is_same_v<T, float> && kCount % 4 == 0) {
      for (; w + 4 <= count_; w += 4, to += 4 * task_.out_step) {
        unrolled<kCount / 4>(
            [&](auto part) { write_square(block + c + 4 * part, w, to + 4 * part); });
      }
    }
    for (; w < count_; ++w, to += task_.out_step) {
      unrolled<kCount>([&](auto k) { to[k] = block[c + k][w]; });
    }
    c += kCount;
  }

  // Four columns of four windows, turned in registers.
  TOKFRAG_INLINE void write_square(const float (*columns)[kWindows], std::int64_t w,
                                   float* row) const {
    using Four = Vector<float, 4>;
    Four turned[4];
    unrolled<4>([&](auto k) { turned[k] = load_as<Four>(columns[k] + w); });
    transpose(turned);
    unrolled<4>([&](auto k) { store_bytes(row + k * task_.out_step, turned[k]); });
  }

  const ResultTask& task_;
  const double* begin_ = nullptr;  // the sums of the first of the windows at hand
  std::int64_t count_ = 0;
  std::int64_t vectors_ = 0;
  WindowMoments moments_;
  bool ill_conditioned_ = false;
};

template <class T>
bool write_results(const ResultTask& task) {
  return ResultWriter(task).run<T>();
}

}  // namespace

extern const ResultKernels result_kernel_table;
const ResultKernels result_kernel_table = {
    {nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, write_results<Half>,
     write_results<BFloat16>, write_results<float>, write_results<double>},
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
