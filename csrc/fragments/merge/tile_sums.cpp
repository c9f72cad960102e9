#include <cmath>
#include <cstring>

#include "fragments/merge/tile_merger.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kLineNumbers = 16;  // at most so many sums fill a cache line

}  // namespace

bool TileMerger::is_steady(std::int64_t window) const {
  const GridAxis& axis = last_.grid;
  const std::int64_t over = (axis.size + axis.stride - 1) / axis.stride;
  const std::int64_t start = window * axis.stride;
  return !merge_.window.per_fragment && window >= over && window + over < axis.count - 1 &&
         start >= begin_ && start + axis.size <= end_;
}

std::int64_t TileMerger::last_steady(std::int64_t window) const {
  if (window == 0 || !is_steady(window - 1) || last_.tap_stride != layout_.element) return window;
  const GridAxis& axis = last_.grid;
  const std::int64_t over = (axis.size + axis.stride - 1) / axis.stride;
  if (over < 2) return window;  // there may be gaps, or windows to be copied
  const std::int64_t last = std::min(axis.count - 2 - over, (end_ - axis.size) / axis.stride);
  return is_steady(window) ? std::max(last, window) : window;
}

bool TileMerger::unscaled(std::int64_t at) const {
  return plan_.factors == nullptr || plan_.factors[at * width_] == 1.0;
}

void TileMerger::flush_pieces() {
  if (pieces_.empty()) return;
  kernels_.copy(pieces_.data(), static_cast<std::int64_t>(pieces_.size()), run_.rows, row_step(),
                row_bytes(), plan_.stream);
  pieces_.clear();
}

template <class Real>
void TileMerger::weigh(MergePiece& piece, const Span& span, [[maybe_unused]] bool steady) {
  if (plan_.weights == nullptr) return;
  const double* weights = plan_.weights + span.first * width_;
  if constexpr (std::is_same_v<Real, double>) {
    piece.number_weights = weights;
  } else {
    std::vector<float>& made = steady ? steady_weights_ : weights_;
    if (!steady || made.empty()) {
      made.resize(static_cast<std::size_t>(piece.numbers));
      for (std::int64_t i = 0; i < piece.numbers; ++i) {
        const std::int64_t position = span.at + i / width_ * last_.grid.dilation;
        const double factor = plan_.factors == nullptr ? 1.0 : plan_.factors[position * width_];
        made[static_cast<std::size_t>(i)] = static_cast<float>(weights[i] * factor);
      }
    }
    piece.number_weights = made.data();
  }
}

template <class Real>
void TileMerger::scale(MergePiece& piece, std::int64_t at) {
  piece.scale = run_.scale;
  if (plan_.factors == nullptr || piece.complete == 0) return;
  const double* factors = plan_.factors + at * width_;
  if (std::is_same_v<Real, float> && plan_.weights != nullptr) return;  // in the weights
  const auto more = static_cast<std::size_t>(piece.complete - 1) * sizeof(double);
  if (std::memcmp(factors, factors + 1, more) == 0) {
    piece.scale *= factors[0];
  } else if constexpr (std::is_same_v<Real, double>) {
    piece.factors = factors;
  } else {
    factors_.resize(static_cast<std::size_t>(piece.complete));
    for (std::size_t i = 0; i < factors_.size(); ++i) {
      factors_[i] = static_cast<float>(run_.scale * factors[i]);
    }
    piece.scale = 1.0;
    piece.factors = factors_.data();
  }
}

void TileMerger::sum_row_norms(const MergePiece& piece, double* lines, double* kept) {
  // The same on all rows but where weights are of rows and an axis further in is taken whole.
  const std::int64_t rows = piece.own_row_step == 0 ? 1 : piece.rows;
  for (std::int64_t row = 0; row < rows; ++row, lines += piece.sums_step) {
    const double* weights = piece.place_weights + row * piece.places;
    for (std::int64_t i = 0; i < piece.numbers; ++i) {
      double sum = i < piece.held ? lines[piece.shift + i] : 0.0;
      for (std::int64_t place = 0; place < piece.places; ++place) sum += weights[place];
      (i < piece.complete ? kept[row * piece.complete + i] : lines[i]) = sum;
    }
  }
  if (!kernels_.invert(kept, !plan_.divides, rows * piece.complete)) merge_.zero_sum.store(true);
}

MergeKernels::Add TileMerger::normalise(MergePiece& piece, double* lines, bool steady) {
  const bool same_rows = plan_.kind == kRowWeights && piece.own_row_step == 0;
  const auto needed = static_cast<std::size_t>((same_rows ? 1 : piece.rows) * piece.complete);
  piece.factor_row_step = same_rows ? 0 : piece.complete;
  if (steady && steady_norms_ >= 0) {
    piece.factors = norms_.data() + steady_norms_;
    return add_;
  }
  if (steady) steady_norms_ = static_cast<std::int64_t>(norms_used_);
  const std::size_t at = norms_used_;
  norms_used_ += needed;
  if (!norms_known_ && norms_.size() < norms_used_) norms_.resize(2 * norms_used_);
  piece.factors = norms_.data() + at;
  if (norms_known_) return add_;
  if (plan_.kind == kRowWeights) {
    sum_row_norms(piece, lines, norms_.data() + at);
    return add_;
  }
  piece.kept_norms = norms_.data() + at;
  piece.norms = lines - static_cast<double*>(piece.sums);
  return add_norms_;
}

void TileMerger::add_norms(MergePiece& piece) {
  if (plan_.kind == kRowWeights) {  // one weight a place and row, repeated
    repeated_.resize(own_.size() * static_cast<std::size_t>(piece.rows * piece.numbers));
    double* to = repeated_.data();
    norm_from_.clear();
    for (const double* own : own_) {
      norm_from_.push_back(reinterpret_cast<const char*>(to));
      for (std::int64_t row = 0; row < piece.rows; ++row, to += piece.numbers) {
        std::fill_n(to, piece.numbers, own[row * piece.own_row_step]);
      }
    }
    piece.row_step = piece.numbers * static_cast<std::int64_t>(sizeof(double));
  } else {
    norm_from_.clear();
    for (const double* own : own_) norm_from_.push_back(reinterpret_cast<const char*>(own));
    piece.row_step = piece.own_row_step * static_cast<std::int64_t>(sizeof(double));
  }
  ones_.assign(own_.size() * static_cast<std::size_t>(piece.rows), 1.0);
  piece.from = norm_from_.data();
  piece.place_weights = ones_.data();
  piece.complete = 0;
  const auto& kinds = kernels_.add[static_cast<std::size_t>(Dtype::kF64)][kRowWeights];
  kinds[place_kind(piece.places)](piece);
}

void TileMerger::finish_norms(std::int64_t numbers) {
  for (std::size_t i = 0; i < norm_sums_.size(); ++i) {
    const double sum = norm_sums_[i];
    const auto at =
        static_cast<std::size_t>(begin_ + static_cast<std::int64_t>(i) % numbers / width_);
    const bool covered = merge_.last_covered.empty() || merge_.last_covered[at] != 0;
    const bool sound = std::isfinite(1.0 / sum) && std::isfinite(sum);
    if (covered && !sound) merge_.zero_sum.store(true);
    if (!plan_.divides) norm_sums_[i] = 1.0 / sum;
  }
}

template <class Real>
bool TileMerger::sum_leaving() {
  const GridAxis& axis = last_.grid;
  // Whole lines for each row: sums that lie across two of them wait for each other (5x on a
  // series).
  const std::int64_t length = std::min(axis.size, end_ - begin_) * width_;
  const std::int64_t held_length = (length + kLineNumbers - 1) / kLineNumbers * kLineNumbers;
  const std::int64_t total = held_length * run_.rows;
  const bool normal = normalises();
  Real* const sums = held<Real>().room_for(normal ? 2 * total : total);
  steady_norms_ = -1;
  const std::int64_t first = windows_over(axis, begin_).first;
  const std::int64_t last = windows_over(axis, end_ - 1).last;
  // Taken as they lie: packed numbers are gone when the pieces are copied.
  const bool lone = run_.places.size() == 1 && plan_.kind == kNoWeights &&
                    last_.tap_stride == layout_.element && plan_.weights == nullptr &&
                    run_.scale == 1.0;
  std::int64_t done = begin_;  // positions written
  std::int64_t from = begin_;  // the sums held are those of [from, to)
  std::int64_t to = begin_;
  bool sound = true;
  for (std::int64_t window = first; window <= last; ++window) {
    const std::int64_t start = window_start(axis, window);
    const std::int64_t at = std::max(start, begin_);
    const std::int64_t stop = std::min(start + axis.size, end_);
    if (at >= stop) continue;
    const std::int64_t next =
        window < last ? std::max(window_start(axis, window + 1), begin_) : end_;
    fill(done, at);
    const Span span{window, at - start, stop - at, at};
    MergePiece piece = piece_of(span);
    piece.held = std::max<std::int64_t>(to - at, 0) * width_;
    piece.complete = (std::min(next, stop) - at) * width_;
    piece.shift = (at - from) * width_;
    piece.sums = sums;
    piece.sums_step = held_length;
    piece.out = place_of(at);
    const bool alone = lone && piece.held == 0 && piece.complete == piece.numbers && unscaled(at);
    if (!alone || pieces_.size() == kLonePieces) flush_pieces();
    from = at;
    to = stop;
    done = std::min(next, stop);
    if (alone) {
      pieces_.push_back({piece.from[0], piece.out, piece.numbers * layout_.item});
      continue;
    }
    const bool steady = is_steady(window);
    weigh<Real>(piece, span, steady);
    MergeKernels::Add add = add_;
    if constexpr (std::is_same_v<Real, double>) {
      if (normal) add = normalise(piece, sums + total, steady);
    }
    if (!normal) scale<Real>(piece, at);
    const std::int64_t more = last_steady(window) - window;
    if (more > 0) {  // all the same, a window on
      piece.windows += more;
      piece.window_step = last_.window_stride;
      piece.out_window_step = axis.stride * layout_.element;
      window += more;
      from += more * axis.stride;
      to += more * axis.stride;
      done += more * axis.stride;
    }
    if (!add(piece)) {
      sound = false;
      if (normal) merge_.zero_sum.store(true);
    }
  }
  flush_pieces();
  fill(done, end_);
  return sound;
}

template <class Real, class Add>
void TileMerger::add_apart(MergePiece piece, const Span& span, Real* sums, const Add& add) {
  const std::int64_t numbers = (end_ - begin_) * width_;
  const std::int64_t dilation = last_.grid.dilation;
  Real* first = sums + (span.at - begin_) * width_;
  if (dilation == 1) {
    piece.sums = first;
    piece.sums_step = numbers;
    add(piece);
    return;
  }
  std::vector<Real> together(static_cast<std::size_t>(piece.rows * piece.numbers));
  const auto move = [&](bool back) {
    Real* near = together.data();
    for (std::int64_t row = 0; row < piece.rows; ++row) {
      for (std::int64_t k = 0; k < span.count; ++k, near += width_) {
        Real* far = first + row * numbers + k * dilation * width_;
        std::copy_n(back ? near : far, width_, back ? far : near);
      }
    }
  };
  move(false);
  piece.sums = together.data();
  piece.sums_step = piece.numbers;
  add(piece);
  move(true);
}

template <class Real>
bool TileMerger::sum_staying() {
  const std::int64_t numbers = (end_ - begin_) * width_;
  const std::int64_t total = numbers * run_.rows;
  Real* const sums = held<Real>().room_for(total);
  // -0.0 is the neutral element of addition: 0.0 would turn a lone -0.0 into 0.0.
  std::fill_n(sums, total, static_cast<Real>(-0.0));
  if (normalises()) norm_sums_.assign(static_cast<std::size_t>(total), 0.0);
  for_each_span([&](const Span& span) {
    MergePiece piece = piece_of(span);
    weigh<Real>(piece, span, false);
    piece.held = piece.numbers;
    add_apart(piece, span, sums, [&](MergePiece& part) { add_(part); });
    if (normalises()) {
      add_apart(piece, span, norm_sums_.data(), [&](MergePiece& part) { add_norms(part); });
    }
  });
  MergePiece piece{};
  piece.rows = run_.rows;
  piece.numbers = piece.held = piece.complete = numbers;
  piece.windows = 1;
  piece.sums = sums;
  piece.sums_step = numbers;
  piece.out = out_;
  piece.out_step = row_bytes();
  piece.stream = plan_.stream;
  if (normalises()) {
    finish_norms(numbers);
    piece.scale = 1.0;
    piece.factors = norm_sums_.data();
    piece.factor_row_step = numbers;
  } else {
    scale<Real>(piece, begin_);
  }
  const bool sound = flush_(piece);
  fill_gaps();
  return sound;
}

template <class Real>
bool TileMerger::sum(const Adds& adds) {
  const auto& kinds = adds[static_cast<std::size_t>(merge_.dtype)];
  const int places = place_kind(static_cast<std::int64_t>(run_.places.size()));
  add_ = kinds[plan_.kind][places];
  add_norms_ = kinds[kOwnNorms][places];
  flush_ = kinds[kRowWeights][kPlaceKinds - 1];  // of no places: what is held leaves
  return plan_.leaves ? sum_leaving<Real>() : sum_staying<Real>();
}

bool TileMerger::sum_singles() { return sum<float>(kernels_.add_single); }

void TileMerger::sum_doubles() { sum<double>(kernels_.add); }

}  // namespace tokfrag
