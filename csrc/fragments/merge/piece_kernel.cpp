#include "fragments/merge/piece_kernel.hpp"

#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// A register's worth of numbers, or (V double or float) one.
template <class V, class T>
TOKFRAG_INLINE V numbers_at(const char* from) {
  if constexpr (std::is_same_v<V, Doubles>) {
    return load(reinterpret_cast<const T*>(from));
  } else if constexpr (std::is_same_v<V, WideFloats>) {
    return load_wide(reinterpret_cast<const T*>(from));
  } else {
    return real_of<V>(load_as<T>(from));
  }
}

template <class V, class Real>
TOKFRAG_INLINE V all(Real value) {
  if constexpr (sizeof(V) == sizeof(Real)) {
    return value;
  } else {
    return splat(value);
  }
}

template <class T, class V>
TOKFRAG_INLINE void put(T* to, V value, [[maybe_unused]] bool streamed) {
  if constexpr (std::is_floating_point_v<V>) {
    put_number(value, *to);
  } else if (streamed) {
    stream(to, value);
  } else {
    store(to, value);
  }
}

// One row of a piece. Of any number of places (kPlaces 0) `piece` says where they are.
template <class Real, int kPlaces>
struct PieceRow {
  static constexpr int kKept = kPlaces == 0 ? 1 : kPlaces;
  const char* from[kKept];
  Real weights[kKept];
  std::int64_t row;
  Real* sums;
  char* out;
  const Real* factors;
};

// `kCount` registers of a row, from number `at` on.
template <class T, class V, class Real, int kCount, int kPlaces, MergeWeights kWeights,
          bool kComplete>
TOKFRAG_INLINE void add_block(const MergePiece& piece, const PieceRow<Real, kPlaces>& row,
                              std::int64_t at, bool held, bool streamed, V& doubt) {
  constexpr std::int64_t kStep = sizeof(V) / sizeof(Real);
  constexpr std::int64_t kBytes = kStep * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t places = kPlaces == 0 ? piece.places : kPlaces;
  const std::int64_t byte = at * static_cast<std::int64_t>(sizeof(T));
  const auto source = [&](std::int64_t place) {
    return kPlaces == 0 ? piece.from[place] + row.row * piece.row_step + byte
                        : row.from[place] + byte;
  };
  V sum[kCount];
  if constexpr (kWeights == kOwnWeights) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      sum[i] = held ? load_as<V>(row.sums + piece.shift + at + i * kStep) : all<V>(Real(-0.0));
    });
    // Halves are never summed in float32 under weights of their own: only what is held leaves.
    if constexpr (std::is_same_v<Real, double>) {
      for (std::int64_t place = 0; place < places; ++place) {
        const char* from = source(place);
        const double* own = piece.own[place] + row.row * piece.own_row_step;
        unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
          const V weight =
              piece.own_step == 0
                  ? all<V>(static_cast<Real>(*own))
                  : numbers_at<V, double>(reinterpret_cast<const char*>(own + at + i * kStep));
          sum[i] += weight * numbers_at<V, T>(from + i * kBytes);
        });
      }
    }
  } else {
    const auto weight_of = [&]([[maybe_unused]] std::int64_t place) {
      if constexpr (kWeights != kPlaceWeights) {
        return Real{1};
      } else if constexpr (kPlaces == 0) {
        return static_cast<Real>(piece.place_weights[row.row * piece.places + place]);
      } else {
        return row.weights[place];
      }
    };
    const char* first = source(0);
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      sum[i] = numbers_at<V, T>(first + i * kBytes);
      if constexpr (kWeights == kPlaceWeights) sum[i] *= all<V>(weight_of(0));
    });
    for (std::int64_t place = 1; place < places; ++place) {
      const char* from = source(place);
      const V weight = all<V>(weight_of(place));
      unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
        const V value = numbers_at<V, T>(from + i * kBytes);
        sum[i] += kWeights == kPlaceWeights ? weight * value : value;
      });
    }
    if (piece.number_weights != nullptr) {
      const Real* weights = static_cast<const Real*>(piece.number_weights) + at;
      unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
        sum[i] *= load_as<V>(weights + i * kStep);
      });
    }
    if (held) {
      const Real* sums = row.sums + piece.shift + at;
      unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
        sum[i] += load_as<V>(sums + i * kStep);
      });
    }
  }
  if constexpr (!kComplete) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      store_bytes(row.sums + at + i * kStep, sum[i]);
    });
    return;
  }
  if constexpr (std::is_same_v<Real, float>) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) { doubt += sum[i] - sum[i]; });
  }
  const auto apply = [&](auto i, V factor) __attribute__((always_inline)) {
    sum[i] = std::is_integral_v<T> ? sum[i] / factor : sum[i] * factor;
  };
  const V scale = all<V>(static_cast<Real>(piece.scale));
  const Real* factors = row.factors == nullptr ? nullptr : row.factors + at;
  if (factors == nullptr) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) { apply(i, scale); });
  } else if (piece.scale == 1.0) {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      apply(i, load_as<V>(factors + i * kStep));
    });
  } else {
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      apply(i, scale * load_as<V>(factors + i * kStep));
    });
  }
  T* out = reinterpret_cast<T*>(row.out) + at;
  if constexpr (kCount % 2 == 0) {
    if (streamed) {
      unrolled<kCount / 2>([&](auto i) __attribute__((always_inline)) {
        stream_two(out + 2 * i * kStep, sum[2 * i], sum[2 * i + 1]);
      });
      return;
    }
  }
  unrolled<kCount>([&](auto i)
                       __attribute__((always_inline)) { put(out + i * kStep, sum[i], streamed); });
}

template <int kPart>
TOKFRAG_INLINE void stream_parts(const char* from, char* out, std::int64_t bytes,
                                 std::int64_t& at) {
  if constexpr (kPart <= kVectorBytes) {
    if (reinterpret_cast<std::uintptr_t>(out + at) % kPart != 0) return;
    for (; at + kPart <= bytes; at += kPart) {
      stream_bytes(out + at, load_as<Vector<char, kPart>>(from + at));
    }
  }
}

// Copies a lone fragment's numbers: what a sum of one comes to. `streamed`: around the cache, whole
// lines in all, of which this is a part of 16, 32 or 64 bytes at least.
inline void copy_bytes(const char* from, char* out, std::int64_t bytes, bool streamed) {
  std::int64_t at = 0;
  if (streamed) {
    stream_parts<64>(from, out, bytes, at);
    stream_parts<32>(from, out, bytes, at);
    stream_parts<16>(from, out, bytes, at);
  }
  if (at < bytes) std::memcpy(out + at, from + at, static_cast<std::size_t>(bytes - at));
}

template <class Real, int kPlaces, MergeWeights kWeights>
TOKFRAG_INLINE void enter_row(const MergePiece& piece, std::int64_t r,
                              PieceRow<Real, kPlaces>& row) {
  row.row = r;
  unrolled<kPlaces>([&](auto place) __attribute__((always_inline)) {
    row.from[place] = piece.from[place] + r * piece.row_step;
  });
  row.sums = static_cast<Real*>(piece.sums) + r * piece.sums_step;
  row.out = piece.out + r * piece.out_step;
  row.factors = static_cast<const Real*>(piece.factors);
  if (row.factors != nullptr) row.factors += r * piece.factor_row_step;
}

// From one row to the next by additions alone: rows may be as short as a register.
template <class Real, int kPlaces>
TOKFRAG_INLINE void next_row(const MergePiece& piece, PieceRow<Real, kPlaces>& row) {
  ++row.row;
  unrolled<kPlaces>([&](auto place)
                        __attribute__((always_inline)) { row.from[place] += piece.row_step; });
  row.sums += piece.sums_step;
  row.out += piece.out_step;
  if (row.factors != nullptr) row.factors += piece.factor_row_step;
}

// Numbers [begin, end) of a row, too few for a register.
template <class T, class Real, MergeWeights kWeights, bool kComplete>
[[gnu::noinline]] bool add_few(const MergePiece& piece, std::int64_t r, std::int64_t begin,
                               std::int64_t end, bool held) {
  PieceRow<Real, 0> row;
  enter_row<Real, 0, kWeights>(piece, r, row);
  Real doubt = 0;
  for (std::int64_t at = begin; at < end; ++at) {
    add_block<T, Real, Real, 1, 0, kWeights, kComplete>(piece, row, at, held, false, doubt);
  }
  return doubt == 0;
}

// Numbers [begin, end) of all rows, which have sums already or have not, and have them all or not.
template <class T, class Real, int kPlaces, MergeWeights kWeights, bool kComplete>
bool add_part(const MergePiece& piece, std::int64_t begin, std::int64_t end) {
  using V = std::conditional_t<std::is_same_v<Real, double>, Doubles, WideFloats>;
  constexpr std::int64_t kStep = sizeof(V) / sizeof(Real);
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  const bool held = begin < piece.held;
  const auto places = reinterpret_cast<std::uintptr_t>(piece.out + begin * kSize) |
                      static_cast<std::uintptr_t>(piece.out_step) |
                      static_cast<std::uintptr_t>((end - begin) * kSize);
  const bool streamed = kComplete && piece.stream && places % 64 == 0;
  const bool plain = kPlaces == 1 && kWeights == kNoWeights && kComplete && !held &&
                     piece.number_weights == nullptr && piece.scale == 1.0 &&
                     piece.factors == nullptr;
  V doubt = {};
  bool sound = true;
  PieceRow<Real, kPlaces> row;
  enter_row<Real, kPlaces, kWeights>(piece, 0, row);
  for (std::int64_t r = 0; r < piece.rows; ++r, next_row(piece, row)) {
    if constexpr (kWeights == kPlaceWeights) {
      unrolled<kPlaces>([&](auto place) __attribute__((always_inline)) {
        row.weights[place] = static_cast<Real>(piece.place_weights[r * kPlaces + place]);
      });
    }
    if (plain) {
      copy_bytes(row.from[0] + begin * kSize, row.out + begin * kSize, (end - begin) * kSize,
                 streamed);
      continue;
    }
    std::int64_t at = begin;
    for (; at + 8 * kStep <= end; at += 8 * kStep) {
      add_block<T, V, Real, 8, kPlaces, kWeights, kComplete>(piece, row, at, held, streamed, doubt);
    }
    if (at + 4 * kStep <= end) {
      add_block<T, V, Real, 4, kPlaces, kWeights, kComplete>(piece, row, at, held, streamed, doubt);
      at += 4 * kStep;
    }
    for (; at + kStep <= end; at += kStep) {
      add_block<T, V, Real, 1, kPlaces, kWeights, kComplete>(piece, row, at, held, streamed, doubt);
    }
    if (at < end) sound = add_few<T, Real, kWeights, kComplete>(piece, r, at, end, held) && sound;
  }
  if constexpr (std::is_same_v<Real, float>) {
    for (int lane = 0; lane < kWideLanes; ++lane) sound = sound && doubt[lane] == 0;
  }
  return sound;
}

template <class T, class Real, int kPlaces, MergeWeights kWeights>
bool add_piece(const MergePiece& piece) {
  const std::int64_t low = piece.held < piece.complete ? piece.held : piece.complete;
  const std::int64_t high = piece.held < piece.complete ? piece.complete : piece.held;
  const std::int64_t cuts[] = {0, low, high, piece.numbers};
  bool sound = true;
  for (int part = 0; part < 3; ++part) {
    const std::int64_t begin = cuts[part];
    const std::int64_t end = cuts[part + 1];
    if (begin == end) continue;
    const bool complete = begin < piece.complete;
    const bool well = complete ? add_part<T, Real, kPlaces, kWeights, true>(piece, begin, end)
                               : add_part<T, Real, kPlaces, kWeights, false>(piece, begin, end);
    sound = sound && well;
  }
  return sound;
}

void copy_pieces(const LonePiece* pieces, std::int64_t count, std::int64_t rows,
                 std::int64_t from_step, std::int64_t to_step, bool stream) {
  // Pieces side by side that fill lines together may leave around the cache.
  const char* end = pieces[0].to;
  bool parts = stream;
  for (std::int64_t i = 0; i < count; ++i) {
    parts = parts && pieces[i].to == end && pieces[i].bytes % 16 == 0;
    end = pieces[i].to + pieces[i].bytes;
  }
  const auto bytes = static_cast<std::uintptr_t>(end - pieces[0].to);
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto place = reinterpret_cast<std::uintptr_t>(pieces[0].to + r * to_step) | bytes;
    const bool streamed = parts && place % 64 == 0;
    for (const LonePiece* piece = pieces; piece != pieces + count; ++piece) {
      copy_bytes(piece->from + r * from_step, piece->to + r * to_step, piece->bytes, streamed);
    }
  }
}

template <class T>
inline bool replaces(T value, T held) {
  if constexpr (kIsHalf<T>) {
    return widen(value) > widen(held) || widen(value) != widen(value);
  } else {
    return value > held || value != value;
  }
}

template <class T>
void keep_max(void* best, std::int64_t step, const char* from, std::int64_t count,
              std::int64_t width) {
  T* __restrict kept = static_cast<T*>(best);
  if (step == width) {
    count *= width;
    step = width = 1;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    for (std::int64_t i = 0; i < width; ++i) {
      const T value = load_as<T>(from + (k * width + i) * static_cast<std::int64_t>(sizeof(T)));
      T& held = kept[k * step + i];
      held = replaces(value, held) ? value : held;
    }
  }
}

void add_exact(double* __restrict high, double* __restrict low, std::int64_t step, const char* row,
               std::int64_t count, std::int64_t width) {
  if (step == width) {
    count *= width;
    step = width = 1;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    for (std::int64_t i = 0; i < width; ++i) {
      // Knuth's two-sum: high + low is the exact sum so far.
      double value;
      std::memcpy(&value, row + (k * width + i) * 8, sizeof value);
      double& so_far = high[k * step + i];
      const double sum = so_far + value;
      const double taken = sum - so_far;
      low[k * step + i] += (so_far - (sum - taken)) + (value - taken);
      so_far = sum;
    }
  }
}

void divide_exact(double* __restrict out, const double* __restrict high,
                  const double* __restrict low, double scale, const double* __restrict divisors,
                  std::int64_t numbers) {
  for (std::int64_t k = 0; k < numbers; ++k) {
    const double divisor = divisors == nullptr ? scale : scale * divisors[k];
    const double quotient = high[k] / divisor;
    const double rest = __builtin_fma(-quotient, divisor, high[k]) + low[k];
    // No rest, or none that means anything (infinities): the quotient stands, sign of zero too.
    const bool refine = rest != 0 && rest - rest == 0;
    out[k] = refine ? quotient + rest / divisor : quotient;
  }
}

bool invert(double* norms, bool replace, std::int64_t numbers) {
  double doubt = 0;  // not zero after an infinity or NaN
  for (std::int64_t k = 0; k < numbers; ++k) {
    const double inverse = 1.0 / norms[k];
    doubt += (inverse - inverse) + (norms[k] - norms[k]);
    norms[k] = replace ? inverse : norms[k];
  }
  return doubt == 0;
}

using Add = MergeKernels::Add;

// Of types that are merged often, a kernel for each usual number of places.
template <class T, class Real, MergeWeights kWeights, bool kOften>
constexpr void fill_adds(Add (&kinds)[kPlaceKinds]) {
  for (Add& kind : kinds) kind = &add_piece<T, Real, 0, kWeights>;
  if constexpr (kOften) {
    kinds[0] = &add_piece<T, Real, 1, kWeights>;
    kinds[1] = &add_piece<T, Real, 2, kWeights>;
    kinds[2] = &add_piece<T, Real, 4, kWeights>;
  }
}

template <class T, class Real, bool kOften>
constexpr void fill_weights(Add (&weights)[kMergeWeights][kPlaceKinds]) {
  fill_adds<T, Real, kNoWeights, kOften>(weights[kNoWeights]);
  fill_adds<T, Real, kPlaceWeights, kOften>(weights[kPlaceWeights]);
  fill_adds<T, Real, kOwnWeights, false>(weights[kOwnWeights]);
}

constexpr MergeKernels kernels() {
  MergeKernels made{};
  const auto index = [](Dtype type) { return static_cast<std::size_t>(type); };
  fill_weights<std::uint8_t, double, true>(made.add[index(Dtype::kU8)]);
  fill_weights<std::int8_t, double, false>(made.add[index(Dtype::kI8)]);
  fill_weights<std::int16_t, double, false>(made.add[index(Dtype::kI16)]);
  fill_weights<std::int32_t, double, false>(made.add[index(Dtype::kI32)]);
  fill_weights<Half, double, false>(made.add[index(Dtype::kF16)]);
  fill_weights<BFloat16, double, false>(made.add[index(Dtype::kBF16)]);
  fill_weights<float, double, true>(made.add[index(Dtype::kF32)]);
  fill_weights<double, double, false>(made.add[index(Dtype::kF64)]);
  fill_weights<Half, float, true>(made.add_single[index(Dtype::kF16)]);
  fill_weights<BFloat16, float, true>(made.add_single[index(Dtype::kBF16)]);
  made.copy = &copy_pieces;
  made.keep_max[index(Dtype::kBool)] = &keep_max<std::uint8_t>;
  made.keep_max[index(Dtype::kU8)] = &keep_max<std::uint8_t>;
  made.keep_max[index(Dtype::kI8)] = &keep_max<std::int8_t>;
  made.keep_max[index(Dtype::kI16)] = &keep_max<std::int16_t>;
  made.keep_max[index(Dtype::kI32)] = &keep_max<std::int32_t>;
  made.keep_max[index(Dtype::kI64)] = &keep_max<std::int64_t>;
  made.keep_max[index(Dtype::kF16)] = &keep_max<Half>;
  made.keep_max[index(Dtype::kBF16)] = &keep_max<BFloat16>;
  made.keep_max[index(Dtype::kF32)] = &keep_max<float>;
  made.keep_max[index(Dtype::kF64)] = &keep_max<double>;
  made.add_exact = &add_exact;
  made.divide_exact = &divide_exact;
  made.invert = &invert;
  made.fence = &fence;
  return made;
}

}  // namespace

extern const MergeKernels merge_kernels_table;
const MergeKernels merge_kernels_table = kernels();

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
