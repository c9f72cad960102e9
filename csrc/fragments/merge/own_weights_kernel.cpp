#include "fragments/merge/own_weights_kernel.hpp"

#include "fragments/merge/vectors.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

typedef std::int64_t Longs __attribute__((vector_size(kLanes * 8)));

// Lanes that are no use as divisors: zero or next to it, infinite or not a number.
inline Longs unsound(Doubles sum) {
  const Doubles inverse = 1.0 / sum;
  return (inverse - inverse != 0.0) | (sum - sum != 0.0);
}

inline bool any(Longs lanes) {
  std::int64_t all = 0;
  for (int lane = 0; lane < kLanes; ++lane) all |= lanes[lane];
  return all != 0;
}

inline bool is_sound(double sum) {
  const double inverse = 1.0 / sum;
  return inverse - inverse == 0 && sum - sum == 0;
}

// `Count` registers of a row, from number `at` on. `kSum`: weights are summed alongside.
template <class T, int Count, bool kConstant, bool kSum>
inline Longs merge_block(const WholeTile& whole, const TileRow& row, const double* norms, T* out,
                         std::int64_t at, bool streamed) {
  const MergeTile& tile = whole.tile;
  Doubles total[Count];
  Doubles weights[Count];
  for (int i = 0; i < Count; ++i) {
    total[i] = splat(-0.0);
    weights[i] = Doubles{};
  }
  for (std::int64_t c = 0; c < tile.column_count; ++c) {
    const TileColumn& column = tile.columns[c];
    const char* base = tile.fragments + column.offset + at * static_cast<std::int64_t>(sizeof(T));
    for (std::int64_t place = 0; place < row.count; ++place) {
      const T* from = reinterpret_cast<const T*>(base + row.places[place].offset);
      const double* own = whole.whole + row.places[place].whole + column.whole;
      for (int i = 0; i < Count; ++i) {
        const Doubles weight = kConstant ? splat(*own) : load(own + at + i * kLanes);
        total[i] += weight * load(from + i * kLanes);
        if (kSum) weights[i] += weight;
      }
    }
  }
  Longs bad = Longs{};
  for (int i = 0; i < Count; ++i) {
    Doubles value = total[i];
    if (whole.mean) {
      if (kSum) bad |= unsound(weights[i]);
      if (std::is_integral_v<T>) {
        value /= kSum ? weights[i] : load(norms + at + i * kLanes);
      } else {
        value *= kSum ? 1.0 / weights[i] : load(norms + at + i * kLanes);
      }
    }
    if (streamed) {
      stream(out + at + i * kLanes, value);
    } else {
      store_lanes(out + at + i * kLanes, value);
    }
  }
  return bad;
}

template <class T, bool kConstant, bool kSum>
inline bool merge_number(const WholeTile& whole, const TileRow& row, const double* norms, T* out,
                         std::int64_t at) {
  const MergeTile& tile = whole.tile;
  double total = -0.0;
  double weights = 0;
  for (std::int64_t c = 0; c < tile.column_count; ++c) {
    const TileColumn& column = tile.columns[c];
    const char* base = tile.fragments + column.offset + at * static_cast<std::int64_t>(sizeof(T));
    for (std::int64_t place = 0; place < row.count; ++place) {
      const T* from = reinterpret_cast<const T*>(base + row.places[place].offset);
      const double* own = whole.whole + row.places[place].whole + column.whole;
      const double weight = own[kConstant ? 0 : at];
      total += weight * as_double(*from);
      weights += weight;
    }
  }
  if (whole.mean && std::is_integral_v<T>) total /= kSum ? weights : norms[at];
  if (whole.mean && !std::is_integral_v<T>) total *= kSum ? 1.0 / weights : norms[at];
  store_number(total, out[at]);
  return !kSum || !whole.mean || is_sound(weights);
}

template <class T, bool kConstant, bool kSum>
bool merge_rows(const WholeTile& whole) {
  const MergeTile& tile = whole.tile;
  const std::int64_t numbers = tile.numbers;
  Longs bad = Longs{};
  bool sound = true;
  for (std::int64_t r = 0; r < tile.row_count; ++r) {
    const TileRow& row = tile.rows[r];
    const double* norms = kSum ? nullptr : whole.norms + r * numbers;
    T* out = reinterpret_cast<T*>(tile.out + r * tile.out_step);
    const bool streamed = tile.stream && std::is_same_v<T, float> &&
                          (reinterpret_cast<std::uintptr_t>(out) % 64 == 0) && numbers % 16 == 0;
    std::int64_t at = 0;
    for (; at + 4 * kLanes <= numbers; at += 4 * kLanes) {
      bad |= merge_block<T, 4, kConstant, kSum>(whole, row, norms, out, at, streamed);
    }
    for (; at + kLanes <= numbers; at += kLanes) {
      bad |= merge_block<T, 1, kConstant, kSum>(whole, row, norms, out, at, streamed);
    }
    for (; at < numbers; ++at) {
      sound &= merge_number<T, kConstant, kSum>(whole, row, norms, out, at);
    }
  }
  return sound && !any(bad);
}

template <class T>
bool merge_whole(const WholeTile& whole) {
  const bool sum = whole.mean && whole.norms == nullptr;
  if (whole.constant)
    return sum ? merge_rows<T, true, true>(whole) : merge_rows<T, true, false>(whole);
  return sum ? merge_rows<T, false, true>(whole) : merge_rows<T, false, false>(whole);
}

bool sum_weights(const WholeTile& whole, bool divides, double* norms) {
  const MergeTile& tile = whole.tile;
  bool sound = true;
  for (std::int64_t r = 0; r < tile.row_count; ++r) {
    const TileRow& row = tile.rows[r];
    double* sums = norms + r * tile.numbers;
    for (std::int64_t at = 0; at < tile.numbers; ++at) sums[at] = 0;
    for (std::int64_t c = 0; c < tile.column_count; ++c) {
      for (std::int64_t place = 0; place < row.count; ++place) {
        const double* own = whole.whole + row.places[place].whole + tile.columns[c].whole;
        if (whole.constant) {
          for (std::int64_t at = 0; at < tile.numbers; ++at) sums[at] += *own;
        } else {
          for (std::int64_t at = 0; at < tile.numbers; ++at) sums[at] += own[at];
        }
      }
    }
    for (std::int64_t at = 0; at < tile.numbers; ++at) sound &= is_sound(sums[at]);
    if (divides) continue;
    for (std::int64_t at = 0; at < tile.numbers; ++at) sums[at] = 1.0 / sums[at];
  }
  return sound;
}

}  // namespace

extern const MergeWholeKernels merge_whole_kernels_table;
const MergeWholeKernels merge_whole_kernels_table{
    {
        nullptr,  // bool
        &merge_whole<std::uint8_t>,
        &merge_whole<std::int8_t>,
        &merge_whole<std::int16_t>,
        &merge_whole<std::int32_t>,
        nullptr,  // int64
        &merge_whole<Half>,
        &merge_whole<BFloat16>,
        &merge_whole<float>,
        &merge_whole<double>,
    },
    &sum_weights,
};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
