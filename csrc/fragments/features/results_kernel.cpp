#include "core/simd.hpp"
#include "fragments/features/results.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// What the columns of a few windows are made of.
struct WindowMoments {
  Doubles mean;
  Doubles squares;
  Doubles variance;
  Doubles scale;  // 1 / (variance * values); 0 where the variance is 0
};

class ResultWriter {
 public:
  explicit ResultWriter(const ResultTask& task) : task_(task) {}

  template <class T>
  bool run() {
    for (std::int64_t w = 0; w < task_.count; w += kLanes) {
      find_moments(w);
      for (std::int64_t c = 0; c < task_.column_count; c += kLanes) {
        if (c + 1 == task_.column_count) {
          write_column<T>(w, c);
        } else {
          write_block<T>(w, c);
        }
      }
    }
    return ill_conditioned_;
  }

 private:
  void sum(int slot, std::int64_t window, Doubles& lanes) const {
    lanes = load(task_.sums + slot * task_.count + window);
  }

  void find_moments(std::int64_t window) {
    Doubles total;
    sum(task_.slots.sum, window, total);
    moments_.mean = total / task_.values;
    if (task_.slots.squares < 0) return;
    Doubles energy;
    sum(task_.slots.squares, window, energy);
    moments_.squares = energy;
    energy /= task_.values;
    if (task_.central) {
      moments_.variance = energy;
      return;
    }
    const Doubles zero = {};
    moments_.variance = energy - moments_.mean * moments_.mean;
    moments_.scale = 1.0 / (moments_.variance * task_.values);
    moments_.scale = moments_.variance == zero ? zero : moments_.scale;
    const Longs poor = moments_.variance <= kIllConditioned * energy;
    const Longs far = (energy < kLeastEnergy) | (energy > kGreatestEnergy);
    const Longs ill = (energy > zero) & (poor | far);
    for (std::int64_t k = 0; k < kLanes && window + k < task_.count; ++k) {
      ill_conditioned_ = ill_conditioned_ || ill[k] != 0;
    }
  }

  void find_column(const ResultColumn& column, std::int64_t window, Doubles& lanes) const {
    const SumSlots& slots = task_.slots;
    switch (column.feature) {
      case Feature::kMean:
        lanes = moments_.mean + task_.shift;
        return;
      case Feature::kStd:
        lanes = root_of(moments_.variance);
        return;
      case Feature::kMin:
        return sum(slots.least, window, lanes);
      case Feature::kMax:
        return sum(slots.greatest, window, lanes);
      case Feature::kDiffEnergy:
        sum(slots.differences, window, lanes);
        if (task_.neighbours > 0) lanes /= task_.neighbours;
        return;
      case Feature::kLagCorr: {
        const int lag = static_cast<int>(column.lag);
        const double pairs = task_.lag_pairs[lag];
        sum(slots.products + lag, window, lanes);
        if (task_.central) {
          const Doubles zero = {};
          lanes = moments_.squares == zero ? zero : lanes / moments_.squares;
          return;
        }
        Doubles edge;
        sum(slots.edges + lag, window, edge);
        lanes -= moments_.mean * (edge - pairs * moments_.mean);
        lanes *= moments_.scale;
        return;
      }
    }
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

  // A last column that has no others beside it.
  template <class T>
  void write_column(std::int64_t window, std::int64_t column) const {
    Doubles lanes = {};
    find_column(task_.columns[column], window, lanes);
    lanes = lanes != lanes ? Doubles{} + __builtin_nan("") : lanes;
    T narrowed[kLanes];
    store(narrowed, lanes);
    T* row = static_cast<T*>(task_.out) + window * task_.out_step + column;
    for (std::int64_t k = 0; k < kLanes && window + k < task_.count; ++k, row += task_.out_step) {
      std::memcpy(row, narrowed + k, sizeof(T));
    }
  }

  // As many columns as windows, turned into rows.
  template <class T>
  void write_block(std::int64_t window, std::int64_t first) const {
    Doubles block[kLanes];
    const std::int64_t more = task_.column_count - first;
    const std::int64_t columns = more < kLanes ? more : kLanes;
    for (std::int64_t c = 0; c < kLanes; ++c) {
      block[c] = Doubles{};
      if (c < columns) find_column(task_.columns[first + c], window, block[c]);
      block[c] = block[c] != block[c] ? Doubles{} + __builtin_nan("") : block[c];  // the same one
    }
    transpose(block);
    T* row = static_cast<T*>(task_.out) + window * task_.out_step + first;
    for (std::int64_t k = 0; k < kLanes && window + k < task_.count; ++k, row += task_.out_step) {
      T narrowed[kLanes];
      store(narrowed, block[k]);
      if (columns == kLanes) {
        std::memcpy(row, narrowed, sizeof narrowed);
        continue;
      }
      std::int64_t done = 0;
      copy_part<4>(narrowed, columns, done, row);
      copy_part<2>(narrowed, columns, done, row);
      copy_part<1>(narrowed, columns, done, row);
    }
  }

  template <std::int64_t kCount, class T>
  static void copy_part(const T* from, std::int64_t count, std::int64_t& done, T* to) {
    if constexpr (kCount < kLanes) {
      if ((count & kCount) == 0) return;
      std::memcpy(to + done, from + done, kCount * sizeof(T));
      done += kCount;
    }
  }

  const ResultTask& task_;
  WindowMoments moments_ = {};
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
