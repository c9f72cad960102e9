#include <cmath>
#include <cstring>

#include "core/parallel.hpp"
#include "fragments/extract/extract_kernel.hpp"
#include "fragments/merge/plan.hpp"
#include "fragments/merge/row_kernel.hpp"

namespace tokfrag {

namespace {

// Accumulated numbers of one chunk of an output row: 16 KiB, to stay in the L1 cache.
constexpr std::int64_t kChunkNumbers = 2048;
// Fragment bytes read that are worth a thread.
constexpr std::int64_t kGrainBytes = std::int64_t{128} << 10;

// The innermost axis' window `window` over positions [begin, end): its taps [first, last).
struct Piece {
  std::int64_t window;
  std::int64_t start;
  std::int64_t first;
  std::int64_t last;
};

// Merges the rows of one thread's range.
class RowMerger {
 public:
  RowMerger(MergePlan& plan, std::int64_t chunk)
      : plan_(plan),
        layout_(plan.layout),
        last_(plan.layout.last()),
        kernels_(merge_kernels()),
        loops_(kernels_.loops[static_cast<std::size_t>(plan.dtype)]),
        chunk_(chunk),
        chunks_((plan.layout.last().grid.length + chunk - 1) / chunk),
        finder_(plan) {
    const auto numbers = static_cast<std::size_t>(chunk * plan.width);
    row_.resize(numbers);
    sum_.resize(numbers);
    if (plan.method == MergeMethod::kSingle) {
      single_row_.resize(numbers);
      single_sum_.resize(numbers);
      single_loops_ = &kernels_.single_loops[plan.dtype == Dtype::kF16 ? 0 : 1];
    }
    if (plan.method == MergeMethod::kExact) low_.resize(numbers);
    if (plan.method == MergeMethod::kWhole) weight_sum_.resize(static_cast<std::size_t>(chunk));
  }

  void run(std::int64_t begin, std::int64_t end) {
    Odometer rows = plan_.rows;
    const std::int64_t per_batch = rows.total();
    // Items count chunks fastest, then rows, then the batch.
    std::int64_t chunk = begin % chunks_;
    std::int64_t row = begin / chunks_;
    rows.seek(row % per_batch);
    int moved = 0;
    bool entered = false;
    for (std::int64_t item = begin; item < end; ++item) {
      if (!entered) finder_.enter(rows, moved);
      entered = true;
      merge_chunk(row / per_batch, row % per_batch, chunk);
      if (++chunk < chunks_) continue;
      chunk = 0;
      ++row;
      moved = std::max(rows.advance(), 0);
      entered = false;
    }
  }

 private:
  // Halves are summed in float32, and once more in float64 where that overflows.
  void merge_chunk(std::int64_t batch, std::int64_t row, std::int64_t chunk) {
    const GridAxis& axis = last_.grid;
    const std::int64_t begin = chunk * chunk_;
    const std::int64_t end = std::min(begin + chunk_, axis.length);
    char* out = plan_.out + batch * layout_.data_batch_stride +
                (row * axis.length + begin) * layout_.element;
    const std::int64_t bytes = (end - begin) * layout_.element;
    if (finder_.places().empty()) {
      fill_value(out, bytes, plan_.fill, layout_.item);
      return;
    }
    fragments_ = plan_.fragments + batch * layout_.fragment_batch_stride;
    method_ = plan_.method;
    gather(begin, end, out);
    if (method_ == MergeMethod::kSingle) {
      bool overflowed = false;
      for (const float sum : single_sum_) overflowed |= sum - sum != 0;
      if (overflowed) {
        method_ = MergeMethod::kScaled;
        gather(begin, end, out);
      }
    }
    finish(begin, end, out);
    fill_gaps(begin, end, out);
  }

  // Sums positions [begin, end) of the row entered.
  void gather(std::int64_t begin, std::int64_t end, char* out) {
    const GridAxis& axis = last_.grid;
    clear(out, (end - begin) * layout_.element);
    // With folding, any window's padded taps may fall here; the chunk is then the whole row.
    WindowRange range{0, axis.count - 1};
    if (!plan_.fold) {
      range.first = windows_over(axis, begin).first;
      range.last = windows_over(axis, end - 1).last;
    }
    for (std::int64_t window = range.first; window <= range.last; ++window) {
      const std::int64_t start = window_start(axis, window);
      const std::int64_t from =
          begin > start ? (begin - start + axis.dilation - 1) / axis.dilation : 0;
      const std::int64_t inside = end > start ? (end - 1 - start) / axis.dilation + 1 : 0;
      const Piece piece{window, start, from, std::min(inside, axis.size)};
      if (piece.first < piece.last) add(piece, begin, out);
      if (plan_.fold && piece.last < axis.size) add_folded({window, start, piece.last, axis.size});
    }
  }

  void clear(char* out, std::int64_t bytes) {
    if (plan_.method == MergeMethod::kMax) {
      fill_lowest(out, bytes);
      return;
    }
    if (method_ == MergeMethod::kSingle) {
      std::fill(single_sum_.begin(), single_sum_.end(), -0.0f);
      return;
    }
    // -0.0 is the neutral element of addition: 0.0 would turn a lone -0.0 into 0.0.
    std::fill(sum_.begin(), sum_.end(), -0.0);
    std::fill(low_.begin(), low_.end(), 0.0);
    std::fill(weight_sum_.begin(), weight_sum_.end(), 0.0);
  }

  void fill_lowest(char* out, std::int64_t bytes) const;

  // The contiguous values of a piece in one fragment.
  const char* values(const Place& place, const Piece& piece) {
    const char* from = fragments_ + place.offset + piece.window * last_.window_stride +
                       piece.first * last_.tap_stride;
    const bool aligned =
        reinterpret_cast<std::uintptr_t>(from) % static_cast<std::uintptr_t>(layout_.item) == 0;
    if (last_.tap_stride == layout_.element && aligned) return from;
    const std::int64_t count = piece.last - piece.first;
    packed_.resize(static_cast<std::size_t>(count * layout_.element));
    extract_kernels().gather(packed_.data(), from, last_.tap_stride, layout_.element, count);
    return packed_.data();
  }

  // Adds a window's piece to the chunk that begins at `chunk_begin`.
  void add(const Piece& piece, std::int64_t chunk_begin, char* out) {
    const GridAxis& axis = last_.grid;
    const std::int64_t width = plan_.width;
    const std::int64_t count = piece.last - piece.first;
    const std::int64_t at = piece.start + piece.first * axis.dilation - chunk_begin;
    const std::int64_t step = axis.dilation * width;
    switch (method_) {
      case MergeMethod::kSingle:
        sum_outer_single(piece);
        kernels_.add_weighted_single(single_sum_.data() + at * width, step, single_row_.data(),
                                     single_weights(piece, chunk_begin + at), 1, count, width);
        break;
      case MergeMethod::kScaled:
        sum_outer(piece);
        kernels_.add_weighted(sum_.data() + at * width, step, row_.data(),
                              last_weights(piece.first), 1, count, width);
        break;
      case MergeMethod::kExact:
        for (const Place& place : finder_.places()) {
          kernels_.add_exact(sum_.data() + at * width, low_.data() + at * width, step,
                             reinterpret_cast<const double*>(values(place, piece)), count, width);
        }
        break;
      case MergeMethod::kWhole:
        for (const Place& place : finder_.places()) add_whole(place, piece, at, step);
        break;
      case MergeMethod::kMax:
        for (const Place& place : finder_.places()) {
          loops_.keep_max(out + at * layout_.element, step, values(place, piece), count, width);
        }
        break;
    }
  }

  // row_ = the sum of a piece over the outer axes' windows.
  void sum_outer(const Piece& piece) {
    const std::int64_t numbers = (piece.last - piece.first) * plan_.width;
    bool first = true;
    for (const Place& place : finder_.places()) {
      const auto add = first ? loops_.set_scaled : loops_.add_scaled;
      add(row_.data(), values(place, piece), place.weight, numbers);
      first = false;
    }
  }

  void sum_outer_single(const Piece& piece) {
    const std::int64_t numbers = (piece.last - piece.first) * plan_.width;
    bool first = true;
    for (const Place& place : finder_.places()) {
      const auto add = first ? single_loops_->set_scaled : single_loops_->add_scaled;
      add(single_row_.data(), values(place, piece), static_cast<float>(place.weight), numbers);
      first = false;
    }
  }

  // The innermost axis' weights of a piece that begins at a position, normalised; null: ones.
  const float* single_weights(const Piece& piece, std::int64_t position) {
    const double* weights = last_weights(piece.first);
    if (weights == nullptr) return nullptr;
    const std::vector<double>& inverse = plan_.last_window->inverse;
    single_weights_.clear();
    for (std::int64_t k = 0; k < piece.last - piece.first; ++k) {
      const auto at = static_cast<std::size_t>(position + k * last_.grid.dilation);
      const double factor = inverse.empty() ? 1.0 : inverse[at];
      single_weights_.push_back(static_cast<float>(weights[k] * factor));
    }
    return single_weights_.data();
  }

  const double* last_weights(std::int64_t first) const {
    const bool weighted = plan_.last_window != nullptr && !plan_.last_window->weights.empty();
    return weighted ? plan_.last_window->weights.data() + first : nullptr;
  }

  void add_whole(const Place& place, const Piece& piece, std::int64_t at, std::int64_t step) {
    const std::int64_t width = plan_.width;
    const std::int64_t count = piece.last - piece.first;
    const std::int64_t last = layout_.rank - 1;
    const std::int64_t weight_step = plan_.whole.taps[last];
    const double* weights = plan_.window.whole.data() + place.whole +
                            piece.window * plan_.whole.windows[last] + piece.first * weight_step;
    loops_.set_scaled(row_.data(), values(place, piece), 1.0, count * width);
    kernels_.add_weighted(sum_.data() + at * width, step, row_.data(), weights, weight_step, count,
                          width);
    if (plan_.window.reduce != Reduce::kMean) return;
    const std::int64_t dilation = last_.grid.dilation;
    for (std::int64_t k = 0; k < count; ++k) {
      weight_sum_[static_cast<std::size_t>(at + k * dilation)] += weights[k * weight_step];
    }
  }

  // Adds a piece whose taps lie beyond the axis to the positions they were copied from.
  void add_folded(const Piece& piece) {
    const GridAxis& axis = last_.grid;
    for (std::int64_t k = piece.first; k < piece.last; ++k) {
      const std::int64_t source =
          source_position(axis.length, layout_.pad_mode, piece.start + k * axis.dilation);
      if (source == kNoSource) return;
      add({piece.window, source - k * axis.dilation, k, k + 1}, 0, nullptr);
    }
  }

  void finish(std::int64_t begin, std::int64_t end, char* out) {
    if (plan_.method == MergeMethod::kMax) return;
    const std::int64_t count = end - begin;
    const std::int64_t width = plan_.width;
    double* sum = sum_.data();
    const AxisWindow* own = plan_.last_window;
    const bool mean = own != nullptr && !own->inverse.empty();
    if (plan_.method == MergeMethod::kSingle) {
      finish_single(begin, count, mean);
      if (method_ == MergeMethod::kSingle) {
        single_loops_->store(out, single_sum_.data(), count * width);
        return;
      }
    }
    const double* sums = mean ? own->sums.data() + begin : nullptr;
    if (plan_.method == MergeMethod::kExact) {
      kernels_.divide_exact(sum, low_.data(), finder_.divisor(), sums, count, width);
    } else if (plan_.method == MergeMethod::kWhole) {
      if (plan_.window.reduce == Reduce::kMean) finish_whole(begin, count);
    } else if (plan_.dtype <= Dtype::kI64) {
      if (finder_.divisor() != 1.0 || mean)
        kernels_.divide(sum, finder_.divisor(), sums, count, width);
    } else {
      kernels_.multiply(sum, finder_.inverse(), mean ? own->inverse.data() + begin : nullptr, count,
                        width);
    }
    if (plan_.method == MergeMethod::kSingle) {
      for (std::int64_t i = 0; i < count * width; ++i) {
        const auto at = static_cast<std::size_t>(i);
        if (finite_[at] != 0) sum[i] = static_cast<double>(single_sum_[at]);
      }
    }
    loops_.store(out, sum, count * width);
  }

  void finish_single(std::int64_t begin, std::int64_t count, bool mean) {
    if (method_ == MergeMethod::kScaled) {  // which sums overflowed, before they are scaled
      finite_.clear();
      for (const float sum : single_sum_) finite_.push_back(sum - sum == 0 ? 1 : 0);
    }
    // Normalised weights need no factors.
    const bool weighted = last_weights(0) != nullptr;
    const double* factors = mean && !weighted ? plan_.last_window->inverse.data() + begin : nullptr;
    kernels_.multiply_single(single_sum_.data(), finder_.inverse(), factors, count, plan_.width);
  }

  void finish_whole(std::int64_t begin, std::int64_t count) {
    for (std::int64_t k = 0; k < count; ++k) {
      const double weight = weight_sum_[static_cast<std::size_t>(k)];
      const bool covered =
          plan_.last_covered.empty() || plan_.last_covered[static_cast<std::size_t>(begin + k)];
      const bool sound = std::isfinite(1.0 / weight) && std::isfinite(weight);
      if (covered && !sound) plan_.zero_sum.store(true);
    }
    if (plan_.dtype <= Dtype::kI64) {
      kernels_.divide(sum_.data(), 1.0, weight_sum_.data(), count, plan_.width);
      return;
    }
    for (double& weight : weight_sum_) weight = 1.0 / weight;
    kernels_.multiply(sum_.data(), 1.0, weight_sum_.data(), count, plan_.width);
  }

  void fill_gaps(std::int64_t begin, std::int64_t end, char* out) {
    if (plan_.last_covered.empty()) return;
    for (std::int64_t at = begin; at < end; ++at) {
      if (plan_.last_covered[static_cast<std::size_t>(at)]) continue;
      fill_value(out + (at - begin) * layout_.element, layout_.element, plan_.fill, layout_.item);
    }
  }

  MergePlan& plan_;
  const GridLayout& layout_;
  const LayoutAxis& last_;
  const MergeKernels& kernels_;
  const MergeLoops& loops_;
  const std::int64_t chunk_;  // positions of the innermost axis merged together
  const std::int64_t chunks_;
  PlaceFinder finder_;
  const char* fragments_ = nullptr;
  MergeMethod method_ = MergeMethod::kScaled;  // of the pass at hand
  const SingleLoops* single_loops_ = nullptr;
  std::vector<float> single_row_;
  std::vector<float> single_sum_;
  std::vector<float> single_weights_;
  std::vector<char> finite_;
  std::vector<double> row_;
  std::vector<double> sum_;
  std::vector<double> low_;
  std::vector<double> weight_sum_;
  std::vector<char> packed_;
};

// What every number exceeds or equals, so that the first one kept replaces it.
void RowMerger::fill_lowest(char* out, std::int64_t bytes) const {
  std::uint64_t lowest = 0;
  switch (plan_.dtype) {
    case Dtype::kBool:
    case Dtype::kU8:
      break;
    case Dtype::kI8:
    case Dtype::kI16:
    case Dtype::kI32:
    case Dtype::kI64:
      lowest = std::uint64_t{1} << (8 * layout_.item - 1);
      break;
    case Dtype::kF16:
      lowest = 0xfc00u;
      break;
    case Dtype::kBF16:
      lowest = 0xff80u;
      break;
    case Dtype::kF32:
      lowest = 0xff800000u;
      break;
    case Dtype::kF64:
      lowest = 0xfff0000000000000u;
      break;
  }
  fill_value(out, bytes, reinterpret_cast<const char*>(&lowest), layout_.item);
}

}  // namespace

void merge_rows(MergePlan& plan, int threads) {
  const std::int64_t length = plan.layout.last().grid.length;
  // Folding adds to positions anywhere on the row, so it takes the row whole.
  const std::int64_t chunk =
      plan.fold ? length : std::min(length, std::max<std::int64_t>(kChunkNumbers / plan.width, 1));
  const std::int64_t chunks = (length + chunk - 1) / chunk;
  const std::int64_t items = plan.layout.batch * plan.rows.total() * chunks;
  const std::int64_t item_bytes = std::max<std::int64_t>(plan.fragment_bytes / items, 1);
  parallel_for(
      items, std::max<std::int64_t>(kGrainBytes / item_bytes, 1), threads,
      [&](std::int64_t begin, std::int64_t end, int) { RowMerger(plan, chunk).run(begin, end); });
}

}  // namespace tokfrag
