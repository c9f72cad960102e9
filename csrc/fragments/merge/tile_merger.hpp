// The work of one thread of a merge: its buffers, and one tile of the output at a time.
//
// A tile is some rows along the last outer axis and a chunk of the innermost one. It is taken run
// by run of rows that the same outer windows hold, and in each window by window of the innermost
// axis.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "fragments/merge/piece_kernel.hpp"
#include "fragments/merge/plan.hpp"

namespace tokfrag {

// Lone windows that are copied together: enough to write long pieces of a row, few enough to read
// on in each window.
constexpr std::size_t kLonePieces = 16;

// What all threads share: the problem, cut into items of some rows along the last outer axis and
// some positions of the innermost one. Vectors of the innermost axis hold one entry a number.
struct TilePlan {
  MergePlan& merge;
  const double* weights = nullptr;  // of its window; null: ones
  const double* factors = nullptr;  // of its positions; null: ones
  const double* whole = nullptr;    // own weights
  std::int64_t whole_width = 1;     // numbers one of those is repeated for
  bool spread = false;              // own weights must be repeated piece by piece
  MergeWeights kind = kNoWeights;
  bool leaves = false;  // sums leave as soon as they are complete; else at the row's end
  bool stream = false;
  bool divides = false;
  std::int64_t tile_rows = 1;
  std::int64_t chunk = 1;  // positions
  std::int64_t chunks = 1;
  Odometer items{};  // like the rows, but the last outer axis counts tiles
  // Tiles that lie over one another and have the same weights, of all batches and channels.
  std::int64_t planes = 1;
  bool channels = false;  // the first outer axis counts planes
};

// Output rows under the same windows of the outer axes.
struct Run {
  std::int64_t rows = 1;
  double scale = 1.0;               // of their sums: one over (or, divided: the) window counts
  std::vector<const char*> places;  // on the first row, at the fragments' first number
  std::vector<std::int64_t> whole;  // where the places' own weights begin
  std::vector<double> weights;      // (rows, places)
};

// One window's positions within a chunk: taps [first, first + count) from position `at` on.
struct Span {
  std::int64_t window;
  std::int64_t first;
  std::int64_t count;
  std::int64_t at;
};

// Room for sums, from a cache line's begin on; what was there is lost when it grows.
template <class Real>
class SumLines {
 public:
  Real* room_for(std::int64_t numbers) {
    constexpr std::int64_t kLineNumbers = 64 / sizeof(Real);
    if (numbers > capacity_) {
      capacity_ = numbers;
      // Not cleared: that would take longer than a small merge.
      block_.reset(new Real[static_cast<std::size_t>(numbers + kLineNumbers)]);
    }
    const auto beyond = reinterpret_cast<std::uintptr_t>(block_.get()) % 64;
    return block_.get() + (beyond == 0 ? 0 : (64 - beyond) / sizeof(Real));
  }

 private:
  std::unique_ptr<Real[]> block_;
  std::int64_t capacity_ = 0;
};

class TileMerger {
 public:
  explicit TileMerger(const TilePlan& plan)
      : plan_(plan),
        merge_(plan.merge),
        layout_(plan.merge.layout),
        last_(plan.merge.layout.last()),
        width_(plan.merge.width),
        kernels_(merge_kernels()),
        finder_(plan.merge) {}

  // Items count chunks fastest, then tiles, then the batch.
  void run(std::int64_t begin, std::int64_t end);

 private:
  const GridAxis* row_axis() const {
    return layout_.rank > 1 ? &layout_.axes[layout_.rank - 2].grid : nullptr;
  }
  std::int64_t row_step() const {
    return layout_.rank > 1 ? layout_.axes[layout_.rank - 2].tap_stride : 0;
  }
  std::int64_t row_bytes() const { return last_.grid.length * layout_.element; }
  char* place_of(std::int64_t position) const {
    return out_ + (position - begin_) * layout_.element;
  }
  bool normalises() const {
    return merge_.method == MergeMethod::kWhole && merge_.window.reduce == Reduce::kMean;
  }

  void merge_tile(const Odometer& items, std::int64_t batch, std::int64_t chunk);
  // Finds the run of rows that begins `row` rows into a tile.
  void enter(Odometer& rows, std::int64_t row, std::int64_t most, const char* fragments);
  // Rows from `position` on that the same windows hold.
  std::int64_t run_length(std::int64_t position) const;
  // `out`: the run's first row, at the chunk's first position.
  void merge_run(char* out);
  void fill(std::int64_t from, std::int64_t to);
  void fill_gaps();

  // False if some sum was no finite float.
  bool sum_singles();
  void sum_doubles();
  // Halves of which some overflowed in float32: those again in float64.
  void sum_again();
  using Adds = MergeKernels::Add[kDtypes][kMergeWeights][kPlaceKinds];
  template <class Real>
  bool sum(const Adds& adds);

  // Sums that leave as soon as they are complete.
  template <class Real>
  bool sum_leaving();
  // Whether a position's numbers are taken as they are, if only one window holds it.
  bool unscaled(std::int64_t at) const;
  void flush_pieces();
  // A window well inside the axis and whole: what lies over it repeats from window to window.
  bool is_steady(std::int64_t window) const;
  // The innermost axis' weights of a piece; in float32 with what normalises them.
  template <class Real>
  void weigh(MergePiece& piece, const Span& span, bool steady);
  // What the complete sums of a piece are multiplied or divided by.
  template <class Real>
  void scale(MergePiece& piece, std::int64_t at);

  // Of windows from this one on, the last that is like it in all but its place.
  std::int64_t last_steady(std::int64_t window) const;

  // Own weights.
  // Sees to the factors of a piece's complete numbers; what adds it. `lines`: sums of weights.
  MergeKernels::Add normalise(MergePiece& piece, double* lines, bool steady);
  // The same of weights that all numbers of a row share.
  void sum_row_norms(const MergePiece& piece, double* lines, double* kept);
  // Adds the weights of a piece to its sums: they are numbers of weight 1 themselves.
  void add_norms(MergePiece& piece);
  void finish_norms(std::int64_t numbers);

  // Sums that stay until the row's end.
  template <class Real>
  bool sum_staying();
  // Adds a piece to the chunk's sums, which its numbers follow or (dilated) lie apart in.
  template <class Real, class Add>
  void add_apart(MergePiece piece, const Span& span, Real* sums, const Add& add);

  void sum_exactly();
  void keep_extremes();
  void pick_ordered();
  // Positions from this one on that the same windows of the innermost axis hold, and that follow
  // each other in the fragments.
  std::int64_t stretch_from(std::int64_t position) const;

  // Where a window's numbers are, and their places' weights.
  MergePiece piece_of(const Span& span);
  // Puts numbers that lie apart side by side.
  void pack(MergePiece& piece, std::int64_t count);
  void find_own(MergePiece& piece, const Span& span);

  // The windows over the chunk, ascending. Folding takes the whole row, and adds taps beyond the
  // axis to the positions they were copied from.
  template <class Body>
  void for_each_span(const Body& body) const {
    const GridAxis& axis = last_.grid;
    WindowRange range{0, axis.count - 1};
    if (!merge_.fold) {
      range.first = windows_over(axis, begin_).first;
      range.last = windows_over(axis, end_ - 1).last;
    }
    for (std::int64_t window = range.first; window <= range.last; ++window) {
      const std::int64_t start = window_start(axis, window);
      const std::int64_t first =
          begin_ > start ? (begin_ - start + axis.dilation - 1) / axis.dilation : 0;
      const std::int64_t inside = end_ > start ? (end_ - 1 - start) / axis.dilation + 1 : 0;
      const std::int64_t end = std::min(inside, axis.size);
      if (first < end) body(Span{window, first, end - first, start + first * axis.dilation});
      for (std::int64_t tap = std::max(first, end); merge_.fold && tap < axis.size; ++tap) {
        const std::int64_t source =
            source_position(axis.length, layout_.pad_mode, start + tap * axis.dilation);
        if (source == kNoSource) break;
        body(Span{window, tap, 1, source});
      }
    }
  }

  template <class Body>
  void for_each_row_of_pieces(const Body& body) {
    for_each_span([&](const Span& span) {
      const MergePiece piece = piece_of(span);
      for (std::int64_t place = 0; place < piece.places; ++place) {
        for (std::int64_t row = 0; row < piece.rows; ++row) {
          body(span, row, piece.from[place] + row * piece.row_step);
        }
      }
    });
  }

  template <class Real>
  SumLines<Real>& held() {
    if constexpr (std::is_same_v<Real, double>) {
      return held_;
    } else {
      return held_singles_;
    }
  }

  const TilePlan& plan_;
  MergePlan& merge_;
  const GridLayout& layout_;
  const LayoutAxis& last_;
  const std::int64_t width_;
  const MergeKernels& kernels_;
  PlaceFinder finder_;
  Run run_;
  std::int64_t begin_ = 0;  // the chunk's positions
  std::int64_t end_ = 0;
  char* out_ = nullptr;  // the run's first row, at `begin_`
  MergeKernels::Add add_ = nullptr;
  MergeKernels::Add add_norms_ = nullptr;
  MergeKernels::Add flush_ = nullptr;
  SumLines<double> held_;
  SumLines<float> held_singles_;
  // What normalises the numbers of a tile under own weights, in the order that they leave in: the
  // same for the tiles of all planes.
  std::vector<double> norms_;
  std::size_t norms_used_ = 0;
  bool norms_known_ = false;
  std::int64_t steady_norms_ = -1;  // where those of steady windows begin
  std::vector<double> low_, norm_sums_, repeated_, spread_, ones_;
  std::vector<float> weights_, steady_weights_, factors_;
  std::vector<Tap> taps_;
  std::vector<const char*> from_, norm_from_;
  std::vector<const double*> own_;
  std::vector<LonePiece> pieces_;
  std::vector<char> packed_, again_;
};

// Merges any plan, a piece of a window over some rows at a time.
void merge_pieces(MergePlan& plan, int threads);

}  // namespace tokfrag
