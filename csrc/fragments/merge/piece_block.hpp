// Some registers of one row of a piece: read, summed over the places, added to what was held, and
// kept or let go. For piece_kernel.cpp, which walks over rows and windows.
#pragma once

#include "fragments/merge/piece_kernel.hpp"
#include "fragments/merge/piece_registers.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {
namespace {

template <MergeWeights kWeights>
constexpr bool kOwn = kWeights >= kRowWeights;

// What complete sums are multiplied (integers: divided) by.
enum class Scaling { kNone, kScale, kFactors, kBoth };

// One row of a piece, and what does not change from row to row: kept beside the piece, for a store
// to memory might change what is read through a pointer. Of any number of places (kPlaces 0)
// `piece` says where they are.
template <class Real, int kPlaces>
struct PieceRow {
  static constexpr int kKept = kPlaces == 0 ? 1 : kPlaces;
  const char* from[kKept];
  Real weights[kKept];
  const double* own[kKept];
  std::int64_t row;
  Real* sums;
  Real* held;  // what has been summed before
  char* out;
  const Real* factors;
  const Real* number_weights;
  std::int64_t norms;  // from the sums to their norms, numbers
  double* kept_norms;
  double scale;
  Scaling scaling;
  bool streamed;
  std::int64_t window;  // bytes from the first window to this one
};

template <class T, class V, class Real, int kCount, int kPlaces>
TOKFRAG_INLINE void apply_factors(const PieceRow<Real, kPlaces>& row, std::int64_t at,
                                  V (&sum)[kCount]) {
  constexpr std::int64_t kStep = sizeof(V) / sizeof(Real);
  const auto apply = [&](auto i, V factor) __attribute__((always_inline)) {
    sum[i] = std::is_integral_v<T> ? sum[i] / factor : sum[i] * factor;
  };
  const Real* factors = row.factors + at;
  const V scale = all<V>(static_cast<Real>(row.scale));
  if (row.scaling == Scaling::kScale) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) { apply(i, scale); });
  } else if (row.scaling == Scaling::kFactors) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      apply(i, load_as<V>(factors + i * kStep));
    });
  } else if (row.scaling == Scaling::kBoth) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      apply(i, scale * load_as<V>(factors + i * kStep));
    });
  }
}

// `kCount` registers of a row, from number `at` on. `held`: they have sums already; `complete`:
// they have all of theirs then. Both std::true_type or std::false_type, or, where one kernel is
// enough for all parts of a row, bool.
template <class T, class V, class Real, int kCount, int kPlaces, MergeWeights kWeights, class Held,
          class Complete>
TOKFRAG_INLINE void add_block(const MergePiece& piece, const PieceRow<Real, kPlaces>& row,
                              std::int64_t at, V& doubt, Held held, Complete complete) {
  constexpr std::int64_t kStep = sizeof(V) / sizeof(Real);
  constexpr std::int64_t kBytes = kStep * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t places = kPlaces == 0 ? piece.places : kPlaces;
  const std::int64_t byte = at * static_cast<std::int64_t>(sizeof(T));
  const auto source = [&](std::int64_t place) __attribute__((always_inline)) {
    return kPlaces == 0 ? piece.from[place] + row.window + row.row * piece.row_step + byte
                        : row.from[place] + byte;
  };
  const auto weight_of = [&]([[maybe_unused]] std::int64_t place) __attribute__((always_inline)) {
    if constexpr (kWeights != kPlaceWeights && kWeights != kRowWeights) {
      return Real{1};
    } else if constexpr (kPlaces == 0) {
      return static_cast<Real>(piece.place_weights[row.row * piece.places + place]);
    } else {
      return row.weights[place];
    }
  };
  V sum[kCount];
  if constexpr (kOwn<kWeights>) {
    V norm[kCount];
    if (held) {
      unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
        sum[i] = load_as<V>(row.held + at + i * kStep);
        if constexpr (kWeights == kOwnNorms) {
          norm[i] = load_as<V>(row.held + row.norms + at + i * kStep);
        }
      });
    }
    const auto add = [&](std::int64_t place, auto first) __attribute__((always_inline)) {
      const char* from = source(place);
      const double* own = nullptr;
      if constexpr (kWeights != kRowWeights) {
        own = kPlaces == 0 ? piece.own[place] + row.row * piece.own_row_step : row.own[place];
        own += at;
      }
      const V same = all<V>(weight_of(place));
      unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
        V weight = same;
        if constexpr (kWeights != kRowWeights) {
          weight = numbers_at<V, double>(reinterpret_cast<const char*>(own + i * kStep));
        }
        const V value = weight * numbers_at<V, T>(from + i * kBytes);
        sum[i] = first ? value : sum[i] + value;
        if constexpr (kWeights == kOwnNorms) norm[i] = first ? weight : norm[i] + weight;
      });
    };
    if (held) {
      for (std::int64_t place = 0; place < places; ++place) add(place, std::false_type());
    } else {
      add(0, std::true_type());
      for (std::int64_t place = 1; place < places; ++place) add(place, std::false_type());
    }
    if constexpr (kWeights == kOwnNorms) {
      unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
        if (!complete) {
          store_bytes(row.sums + row.norms + at + i * kStep, norm[i]);
          return;
        }
        const V inverse = Real{1} / norm[i];
        doubt += (inverse - inverse) + (norm[i] - norm[i]);  // not 0 after infinities and NaN
        store_bytes(row.kept_norms + at + i * kStep, std::is_integral_v<T> ? norm[i] : inverse);
        sum[i] = std::is_integral_v<T> ? sum[i] / norm[i] : sum[i] * inverse;
      });
    }
  } else {
    const char* first = source(0);
    const V first_weight = all<V>(weight_of(0));
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      sum[i] = numbers_at<V, T>(first + i * kBytes);
      if constexpr (kWeights == kPlaceWeights) sum[i] *= first_weight;
    });
    for (std::int64_t place = 1; place < places; ++place) {
      const char* from = source(place);
      const V weight = all<V>(weight_of(place));
      unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
        const V value = numbers_at<V, T>(from + i * kBytes);
        sum[i] += kWeights == kPlaceWeights ? weight * value : value;
      });
    }
    if (row.number_weights != nullptr) {
      const Real* weights = row.number_weights + at;
      unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
        sum[i] *= load_as<V>(weights + i * kStep);
      });
    }
    if (held) {
      unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
        sum[i] += load_as<V>(row.held + at + i * kStep);
      });
    }
  }
  if (!complete) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      store_bytes(row.sums + at + i * kStep, sum[i]);
    });
    return;
  }
  if constexpr (std::is_same_v<Real, float> && kIsHalf<T>) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) { doubt += sum[i] - sum[i]; });
  }
  if constexpr (kWeights != kOwnNorms) apply_factors<T>(row, at, sum);
  put_all(reinterpret_cast<T*>(row.out) + at, sum, row.streamed);
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
