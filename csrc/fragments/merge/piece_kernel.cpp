#include "fragments/merge/piece_kernel.hpp"

#include "fragments/merge/piece_block.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// Bytes of a row, at most, that are read block by block down the rows.
constexpr std::int64_t kMostDown = 512;
// Bytes up to which a copy is made here.
constexpr std::int64_t kFewBytes = 256;

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
  if (bytes - at <= kFewBytes) {  // a call would take longer
    for (; at + kVectorBytes <= bytes; at += kVectorBytes) {
      store_bytes(out + at, load_as<Vector<char, kVectorBytes>>(from + at));
    }
    for (; at + 16 <= bytes; at += 16) store_bytes(out + at, load_as<Vector<char, 16>>(from + at));
  }
  if (at < bytes) std::memcpy(out + at, from + at, static_cast<std::size_t>(bytes - at));
}

template <class Real, int kPlaces, MergeWeights kWeights>
TOKFRAG_INLINE void enter_row(const MergePiece& piece, std::int64_t r, std::int64_t window,
                              PieceRow<Real, kPlaces>& row) {
  row.row = r;
  row.window = window * piece.window_step;
  unrolled<kPlaces>([&](auto place) __attribute__((always_inline)) {
    row.from[place] = piece.from[place] + row.window + r * piece.row_step;
    if constexpr (kWeights == kOwnWeights || kWeights == kOwnNorms) {
      row.own[place] = piece.own[place] + r * piece.own_row_step;
    }
  });
  row.sums = static_cast<Real*>(piece.sums) + r * piece.sums_step;
  row.held = row.sums + piece.shift;
  row.out = piece.out + window * piece.out_window_step + r * piece.out_step;
  row.factors = static_cast<const Real*>(piece.factors) + r * piece.factor_row_step;
  row.number_weights = static_cast<const Real*>(piece.number_weights);
  if constexpr (kWeights == kOwnNorms) {
    row.norms = piece.norms;
    row.kept_norms = piece.kept_norms + r * piece.complete;
  }
  row.scale = piece.scale;
  row.streamed = false;
  row.scaling = piece.factors == nullptr
                    ? (piece.scale == 1.0 ? Scaling::kNone : Scaling::kScale)
                    : (piece.scale == 1.0 ? Scaling::kFactors : Scaling::kBoth);
}

// From one row to the next by additions alone: rows may be as short as a register.
template <class Real, int kPlaces, MergeWeights kWeights>
TOKFRAG_INLINE void next_row(const MergePiece& piece, PieceRow<Real, kPlaces>& row) {
  ++row.row;
  unrolled<kPlaces>([&](auto place) __attribute__((always_inline)) {
    row.from[place] += piece.row_step;
    if constexpr (kWeights == kOwnWeights || kWeights == kOwnNorms) {
      row.own[place] += piece.own_row_step;
    }
  });
  row.sums += piece.sums_step;
  row.held += piece.sums_step;
  row.out += piece.out_step;
  row.factors += piece.factor_row_step;
  if constexpr (kWeights == kOwnNorms) row.kept_norms += piece.complete;
}

// Numbers [begin, end) of a row, too few for a register.
template <class T, class Real, MergeWeights kWeights>
[[gnu::noinline]] bool add_few(const MergePiece& piece, std::int64_t r, std::int64_t window,
                               std::int64_t begin, std::int64_t end, bool held, bool complete) {
  PieceRow<Real, 0> row;
  enter_row<Real, 0, kWeights>(piece, r, window, row);
  Real doubt = 0;
  for (std::int64_t at = begin; at < end; ++at) {
    add_block<T, Real, Real, 1, 0, kWeights>(piece, row, at, doubt, held, complete);
  }
  return doubt == 0;
}

// `kCount` registers' numbers from `at` on of some rows.
template <class T, class V, class Real, int kCount, int kPlaces, MergeWeights kWeights, class Held,
          class Complete>
TOKFRAG_INLINE void add_column(const MergePiece& piece, PieceRow<Real, kPlaces> row,
                               std::int64_t rows, std::int64_t at, V& doubt, Held held,
                               Complete complete) {
  constexpr bool kRowWise = kWeights == kPlaceWeights || kWeights == kRowWeights;
  const double* weights = kRowWise ? piece.place_weights + row.row * piece.places : nullptr;
  V doubts = doubt;
  for (std::int64_t r = 0; r < rows; ++r) {
    if constexpr (kRowWise) {
      unrolled<kPlaces>([&](auto place) __attribute__((always_inline)) {
        row.weights[place] = static_cast<Real>(weights[place]);
      });
      weights += kPlaces;
    }
    if (piece.ahead != 0) {
      unrolled<kPlaces>([&](auto place) __attribute__((always_inline)) {
        const char* next =
            row.from[place] + at * static_cast<std::int64_t>(sizeof(T)) + piece.ahead;
        constexpr int kBytes = kCount * static_cast<int>(sizeof(V) / sizeof(Real) * sizeof(T));
        unrolled<(kBytes + 63) / 64>([&](auto line) __attribute__((always_inline)) {
          __builtin_prefetch(next + line * 64);
        });
      });
    }
    add_block<T, V, Real, kCount, kPlaces, kWeights>(piece, row, at, doubts, held, complete);
    next_row<Real, kPlaces, kWeights>(piece, row);
  }
  doubt = doubts;
}

// Numbers [begin, end) of all rows, which have sums already or have not, and have them all or not.
template <class T, class Real, int kPlaces, MergeWeights kWeights, class Held, class Complete>
bool add_part(const MergePiece& piece, std::int64_t window, std::int64_t begin, std::int64_t end,
              Held held, Complete complete) {
  using V = std::conditional_t<std::is_same_v<Real, double>, Doubles, WideFloats>;
  constexpr std::int64_t kStep = sizeof(V) / sizeof(Real);
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  // 32 doubles, or floats as halves. With norms there are twice as many sums, and there must be
  // registers for both.
  constexpr bool kFew = kVectorBytes == 64 || kWeights == kOwnNorms || kPlaces == 0;
  constexpr int kBlock = kFew || (kVectorBytes == 32 && !std::is_same_v<Real, double>) ? 4 : 8;
  PieceRow<Real, kPlaces> row;
  enter_row<Real, kPlaces, kWeights>(piece, 0, window, row);
  const auto places = reinterpret_cast<std::uintptr_t>(row.out + begin * kSize) |
                      static_cast<std::uintptr_t>(piece.out_step) |
                      static_cast<std::uintptr_t>((end - begin) * kSize);
  row.streamed = complete && piece.stream && places % 64 == 0;
  if constexpr (kPlaces == 1 && kWeights == kNoWeights) {
    if (complete && !held && piece.number_weights == nullptr && row.scaling == Scaling::kNone) {
      for (std::int64_t r = 0; r < piece.rows; ++r) {
        copy_bytes(row.from[0] + begin * kSize, row.out + begin * kSize, (end - begin) * kSize,
                   row.streamed);
        next_row<Real, kPlaces, kWeights>(piece, row);
      }
      return true;
    }
  }
  V doubt = {};
  bool sound = true;
  // Down all rows while that is near enough for what is read ahead, else along each row.
  const bool down = end - begin <= kMostDown / kSize;
  const std::int64_t rows = down ? piece.rows : 1;
  for (std::int64_t r = 0; r < piece.rows; r += rows) {
    std::int64_t at = begin;
    for (; at + kBlock * kStep <= end; at += kBlock * kStep) {
      add_column<T, V, Real, kBlock, kPlaces, kWeights>(piece, row, rows, at, doubt, held,
                                                        complete);
    }
    if constexpr (kBlock > 4 && kVectorBytes == 32 && std::is_same_v<T, float>) {
      if (at + 4 * kStep <= end) {
        add_column<T, V, Real, 4, kPlaces, kWeights>(piece, row, rows, at, doubt, held, complete);
        at += 4 * kStep;
      }
    }
    for (; at + kStep <= end; at += kStep) {
      add_column<T, V, Real, 1, kPlaces, kWeights>(piece, row, rows, at, doubt, held, complete);
    }
    for (std::int64_t few = r; at < end && few < r + rows; ++few) {
      sound = add_few<T, Real, kWeights>(piece, few, window, at, end, held, complete) && sound;
    }
    if (!down) next_row<Real, kPlaces, kWeights>(piece, row);
  }
  for (int lane = 0; lane < static_cast<int>(kStep); ++lane) sound = sound && doubt[lane] == 0;
  return sound;
}

template <class T, class Real, int kPlaces, MergeWeights kWeights>
bool add_piece(const MergePiece& piece) {
  const std::int64_t low = piece.held < piece.complete ? piece.held : piece.complete;
  const std::int64_t high = piece.held < piece.complete ? piece.complete : piece.held;
  bool sound = true;
  // A kernel for each part of a row where that is short and done most often; else one for two parts
  // or for all.
  const auto add = [&](std::int64_t window, std::int64_t begin, std::int64_t end, auto held,
                       auto complete) {
    constexpr bool kByPlace = kPlaces != 0 && !kOwn<kWeights>;
    constexpr bool kByHeld = kByPlace && (kPlaces == 1 || std::is_same_v<T, float>);
    using Held = std::conditional_t<kByHeld, decltype(held), bool>;
    using Complete = std::conditional_t<kByPlace, decltype(complete), bool>;
    if (begin == end) return;
    sound = add_part<T, Real, kPlaces, kWeights, Held, Complete>(piece, window, begin, end, held,
                                                                 complete) &&
            sound;
  };
  const std::true_type yes;
  const std::false_type no;
  for (std::int64_t window = 0; window < piece.windows; ++window) {
    add(window, 0, low, yes, yes);
    if (piece.held < piece.complete) {
      add(window, low, high, no, yes);
    } else {
      add(window, low, high, yes, no);
    }
    add(window, high, piece.numbers, no, no);
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
  // The same row of as many windows further: what these hold ends before the hardware foresees it.
  const std::int64_t apart = count > 1 ? pieces[1].from - pieces[0].from : 0;
  const std::int64_t ahead = stream ? count * apart : 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto place = reinterpret_cast<std::uintptr_t>(pieces[0].to + r * to_step) | bytes;
    const bool streamed = parts && place % 64 == 0;
    for (const LonePiece* piece = pieces; piece != pieces + count; ++piece) {
      const char* from = piece->from + r * from_step;
      if (ahead != 0) {
        for (std::int64_t at = 0; at < piece->bytes; at += 64) {
          __builtin_prefetch(from + ahead + at);
        }
      }
      copy_bytes(from, piece->to + r * to_step, piece->bytes, streamed);
    }
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

// How often a type is merged so: a kernel for each usual number of places, for one, or none; and
// one for any number.
enum Frequency { kRare, kLone, kOften };

template <class T, class Real, MergeWeights kWeights, Frequency kFrequency>
constexpr void fill_adds(Add (&kinds)[kPlaceKinds]) {
  for (Add& kind : kinds) kind = &add_piece<T, Real, 0, kWeights>;
  if constexpr (kFrequency != kRare) kinds[0] = &add_piece<T, Real, 1, kWeights>;
  if constexpr (kFrequency == kOften) {
    kinds[1] = &add_piece<T, Real, 2, kWeights>;
    kinds[2] = &add_piece<T, Real, 4, kWeights>;
  }
}

// Without weights of places (the innermost axis may have some); with those; of rows and numbers.
template <class T, Frequency kPlain, Frequency kPlaced, Frequency kOwned>
constexpr void fill_doubles(Add (&weights)[kMergeWeights][kPlaceKinds]) {
  fill_adds<T, double, kNoWeights, kPlain>(weights[kNoWeights]);
  fill_adds<T, double, kPlaceWeights, kPlaced>(weights[kPlaceWeights]);
  fill_adds<T, double, kRowWeights, kOwned>(weights[kRowWeights]);
  fill_adds<T, double, kOwnWeights, kOwned>(weights[kOwnWeights]);
  fill_adds<T, double, kOwnNorms, kOwned>(weights[kOwnNorms]);
}

// Never under weights of their own; bytes under none.
template <class T>
constexpr void fill_singles(Add (&weights)[kMergeWeights][kPlaceKinds]) {
  fill_adds<T, float, kNoWeights, kOften>(weights[kNoWeights]);
  if constexpr (kIsHalf<T>) fill_adds<T, float, kPlaceWeights, kOften>(weights[kPlaceWeights]);
  fill_adds<T, float, kRowWeights, kRare>(weights[kRowWeights]);  // of no places
}

constexpr MergeKernels kernels() {
  MergeKernels made{};
  const auto index = [](Dtype type) { return static_cast<std::size_t>(type); };
  fill_doubles<std::uint8_t, kLone, kOften, kRare>(made.add[index(Dtype::kU8)]);
  fill_doubles<std::int8_t, kRare, kRare, kRare>(made.add[index(Dtype::kI8)]);
  fill_doubles<std::int16_t, kRare, kRare, kRare>(made.add[index(Dtype::kI16)]);
  fill_doubles<std::int32_t, kRare, kRare, kRare>(made.add[index(Dtype::kI32)]);
  fill_doubles<Half, kRare, kRare, kRare>(made.add[index(Dtype::kF16)]);
  fill_doubles<BFloat16, kRare, kRare, kRare>(made.add[index(Dtype::kBF16)]);
  fill_doubles<float, kOften, kOften, kOften>(made.add[index(Dtype::kF32)]);
  fill_doubles<double, kRare, kRare, kRare>(made.add[index(Dtype::kF64)]);
  fill_singles<std::uint8_t>(made.add_single[index(Dtype::kU8)]);
  fill_singles<Half>(made.add_single[index(Dtype::kF16)]);
  fill_singles<BFloat16>(made.add_single[index(Dtype::kBF16)]);
  made.copy = &copy_pieces;
  made.invert = &invert;
  made.fence = &fence;
  return made;
}

}  // namespace

extern const MergeKernels merge_kernels_table;
const MergeKernels merge_kernels_table = kernels();

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
