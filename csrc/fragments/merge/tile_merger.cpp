#include "fragments/merge/tile_merger.hpp"

#include <cstring>
#include <stdexcept>

#include "fragments/extract/extract_kernel.hpp"
#include "fragments/merge/exact_kernel.hpp"
#include "fragments/merge/extreme_kernel.hpp"
#include "fragments/merge/order_kernel.hpp"

namespace tokfrag {

namespace {

// What every number exceeds or equals, or is no greater than, so that the first one replaces it.
std::uint64_t farthest_of(Dtype dtype, bool greatest) {
  const auto either = [&](std::uint64_t low, std::uint64_t high) { return greatest ? low : high; };
  switch (dtype) {
    case Dtype::kBool:
      return either(0, 1);
    case Dtype::kU8:
      return either(0, 0xffu);
    case Dtype::kI8:
      return either(0x80u, 0x7fu);
    case Dtype::kI16:
      return either(0x8000u, 0x7fffu);
    case Dtype::kI32:
      return either(0x80000000u, 0x7fffffffu);
    case Dtype::kI64:
      return either(std::uint64_t{1} << 63, ~std::uint64_t{0} >> 1);
    case Dtype::kF16:
      return either(0xfc00u, 0x7c00u);
    case Dtype::kBF16:
      return either(0xff80u, 0x7f80u);
    case Dtype::kF32:
      return either(0xff800000u, 0x7f800000u);
    case Dtype::kF64:
      break;
  }
  return either(0xfff0000000000000u, 0x7ff0000000000000u);
}

}  // namespace

void TileMerger::run(std::int64_t begin, std::int64_t end) {
  Odometer items = plan_.items;
  const std::int64_t channels = plan_.channels ? items.length[0] : 1;
  const std::int64_t per_plane = items.total() / channels;
  std::int64_t known = -1;
  for (std::int64_t item = begin; item < end; ++item) {
    // Planes fastest where they share weights, else slowest; then chunks, then tiles.
    const bool shared = plan_.kind >= kRowWeights;
    const std::int64_t area = plan_.chunks * per_plane;
    const std::int64_t place = shared ? item / plan_.planes : item % area;
    const std::int64_t plane = shared ? item % plan_.planes : item / area;
    items.seek(place / plan_.chunks + plane % channels * per_plane);
    norms_known_ = known == place;
    norms_used_ = 0;
    merge_tile(items, plane / channels, place % plan_.chunks);
    known = place;
  }
  kernels_.fence();
}

void TileMerger::merge_tile(const Odometer& items, std::int64_t batch, std::int64_t chunk) {
  Odometer rows = merge_.rows;
  std::int64_t count = 1;
  std::int64_t first = 0;
  for (int axis = 0; axis < rows.axes; ++axis) rows.position[axis] = items.position[axis];
  if (rows.axes > 0) {
    std::int64_t& inner = rows.position[rows.axes - 1];
    inner *= plan_.tile_rows;
    count = std::min(plan_.tile_rows, rows.length[rows.axes - 1] - inner);
  }
  for (int axis = 0; axis < rows.axes; ++axis) {
    first = first * rows.length[axis] + rows.position[axis];
  }
  begin_ = chunk * plan_.chunk;
  end_ = std::min(begin_ + plan_.chunk, last_.grid.length);
  char* out = merge_.out + batch * layout_.data_batch_stride + first * row_bytes() +
              begin_ * layout_.element;
  const char* fragments = merge_.fragments + batch * layout_.fragment_batch_stride;
  for (std::int64_t row = 0; row < count; row += run_.rows) {
    enter(rows, row, count - row, fragments);
    merge_run(out + row * row_bytes());
  }
}

void TileMerger::enter(Odometer& rows, std::int64_t row, std::int64_t most, const char* fragments) {
  const int inner = rows.axes - 1;
  finder_.enter(rows, row == 0 ? 0 : inner);
  run_.rows = inner < 0 ? 1 : std::min(most, run_length(rows.position[inner]));
  run_.scale = plan_.divides ? finder_.divisor() : finder_.inverse();
  run_.places.clear();
  run_.whole.clear();
  run_.weights.clear();
  for (const Place& place : finder_.places()) {
    run_.places.push_back(fragments + place.offset);
    run_.whole.push_back(place.whole * plan_.whole_width);
  }
  if (plan_.kind == kPlaceWeights) finder_.append_weights(rows, run_.rows, run_.weights);
  if (inner >= 0) rows.position[inner] += run_.rows;
}

std::int64_t TileMerger::run_length(std::int64_t position) const {
  const GridAxis& axis = *row_axis();
  if (merge_.fold || axis.dilation != 1) return 1;
  const WindowRange range = windows_over(axis, position);
  std::int64_t end = axis.length;
  if (range.first <= range.last) end = std::min(end, window_start(axis, range.first) + axis.size);
  if (range.last + 1 < axis.count) end = std::min(end, window_start(axis, range.last + 1));
  return end - position;
}

void TileMerger::merge_run(char* out) {
  out_ = out;
  if (run_.places.empty()) {
    fill(begin_, end_);
    return;
  }
  switch (merge_.method) {
    case MergeMethod::kExtreme:
      keep_extremes();
      break;
    case MergeMethod::kOrder:
      pick_ordered();
      break;
    case MergeMethod::kExact:
      sum_exactly();
      break;
    case MergeMethod::kSingle:
      if (!sum_singles()) sum_again();
      break;
    default:
      sum_doubles();
  }
}

void TileMerger::fill(std::int64_t from, std::int64_t to) {
  if (from >= to) return;
  for (std::int64_t row = 0; row < run_.rows; ++row) {
    fill_value(place_of(from) + row * row_bytes(), (to - from) * layout_.element, merge_.fill,
               layout_.item);
  }
}

void TileMerger::fill_gaps() {
  if (merge_.last_covered.empty()) return;
  for (std::int64_t at = begin_; at < end_; ++at) {
    if (!merge_.last_covered[static_cast<std::size_t>(at)]) fill(at, at + 1);
  }
}

void TileMerger::sum_again() {
  const std::int64_t bytes = (end_ - begin_) * layout_.element;
  const std::int64_t rows = (run_.rows - 1) * row_bytes() + bytes;
  again_.resize(static_cast<std::size_t>(rows));
  char* out = out_;
  out_ = again_.data();
  sum_doubles();
  const int exponent = merge_.dtype == Dtype::kF16 ? 0x7c00 : 0x7f80;
  for (std::int64_t row = 0; row < run_.rows; ++row) {
    for (std::int64_t at = row * row_bytes(); at < row * row_bytes() + bytes; at += 2) {
      std::uint16_t bits;
      std::memcpy(&bits, out + at, sizeof bits);
      if ((bits & exponent) == exponent) std::memcpy(out + at, again_.data() + at, sizeof bits);
    }
  }
  out_ = out;
}

void TileMerger::sum_exactly() {
  const std::int64_t numbers = (end_ - begin_) * width_;
  const auto total = static_cast<std::size_t>(numbers * run_.rows);
  double* const high = held_.room_for(numbers * run_.rows);
  std::fill_n(high, total, -0.0);
  low_.assign(total, 0.0);
  for_each_row_of_pieces([&](const Span& span, std::int64_t row, const char* from) {
    const std::int64_t to = row * numbers + (span.at - begin_) * width_;
    exact_kernels().add(high + to, low_.data() + to, last_.grid.dilation * width_, from, span.count,
                        width_);
  });
  const double* divisors = plan_.factors == nullptr ? nullptr : plan_.factors + begin_ * width_;
  for (std::int64_t row = 0; row < run_.rows; ++row) {
    exact_kernels().divide(reinterpret_cast<double*>(out_ + row * row_bytes()),
                           high + row * numbers, low_.data() + row * numbers, run_.scale, divisors,
                           numbers);
  }
  fill_gaps();
}

void TileMerger::keep_extremes() {
  const bool greatest = merge_.window.reduce == Reduce::kMax;
  const std::uint64_t farthest = farthest_of(merge_.dtype, greatest);
  for (std::int64_t row = 0; row < run_.rows; ++row) {
    fill_value(out_ + row * row_bytes(), (end_ - begin_) * layout_.element,
               reinterpret_cast<const char*>(&farthest), layout_.item);
  }
  const ExtremeKernels& kernels = extreme_kernels();
  const auto keep =
      (greatest ? kernels.keep_max : kernels.keep_min)[static_cast<std::size_t>(merge_.dtype)];
  for_each_row_of_pieces([&](const Span& span, std::int64_t row, const char* from) {
    keep(place_of(span.at) + row * row_bytes(), last_.grid.dilation * width_, from, span.count,
         width_);
  });
  fill_gaps();
}

std::int64_t TileMerger::stretch_from(std::int64_t position) const {
  const GridAxis& axis = last_.grid;
  if (axis.dilation != 1 || last_.tap_stride != layout_.element) return 1;
  const WindowRange range = windows_over(axis, position);
  std::int64_t end = end_;
  if (range.first <= range.last) end = std::min(end, window_start(axis, range.first) + axis.size);
  if (range.last + 1 < axis.count) end = std::min(end, window_start(axis, range.last + 1));
  return end - position;
}

void TileMerger::pick_ordered() {
  const OrderKernels& kernels = order_kernels();
  const auto pick = (merge_.window.reduce == Reduce::kMedian
                         ? kernels.median
                         : kernels.vote)[static_cast<std::size_t>(merge_.dtype)];
  if (pick == nullptr) throw std::invalid_argument("a type that is not ordered");
  std::int64_t count = 1;
  for (std::int64_t at = begin_; at < end_; at += count) {
    count = stretch_from(at);
    taps_.clear();
    append_taps(last_.grid, at, taps_);
    if (taps_.empty()) {
      fill(at, at + count);
      continue;
    }
    from_.clear();
    for (const Tap& tap : taps_) {
      const std::int64_t offset = tap.window * last_.window_stride + tap.index * last_.tap_stride;
      for (const char* place : run_.places) from_.push_back(place + offset);
    }
    const auto places = static_cast<std::int64_t>(from_.size());
    if (places > kMostOrdered) throw std::invalid_argument("too many windows to be ordered");
    for (std::int64_t row = 0; row < run_.rows; ++row) {
      pick(place_of(at) + row * row_bytes(), from_.data(), places, count * width_);
      for (const char*& from : from_) from += row_step();
    }
  }
}

MergePiece TileMerger::piece_of(const Span& span) {
  MergePiece piece{};
  piece.places = static_cast<std::int64_t>(run_.places.size());
  piece.rows = run_.rows;
  piece.numbers = span.count * width_;
  piece.out_step = row_bytes();
  piece.windows = 1;
  // Out of the cache: the next window's numbers, which no hardware foresees.
  piece.ahead = plan_.stream && last_.tap_stride == layout_.element ? last_.window_stride : 0;
  piece.scale = 1.0;
  piece.stream = plan_.stream;
  from_.clear();
  const std::int64_t offset = span.window * last_.window_stride + span.first * last_.tap_stride;
  for (const char* place : run_.places) from_.push_back(place + offset);
  piece.row_step = row_step();
  if (last_.tap_stride != layout_.element) pack(piece, span.count);
  piece.from = from_.data();
  if (plan_.kind == kPlaceWeights) piece.place_weights = run_.weights.data();
  if (plan_.kind >= kRowWeights) find_own(piece, span);
  return piece;
}

void TileMerger::pack(MergePiece& piece, std::int64_t count) {
  const std::int64_t bytes = count * layout_.element;
  packed_.resize(from_.size() * static_cast<std::size_t>(piece.rows * bytes));
  char* to = packed_.data();
  for (const char*& from : from_) {
    const char* first = to;
    for (std::int64_t row = 0; row < piece.rows; ++row, to += bytes) {
      extract_kernels().gather(to, from + row * piece.row_step, last_.tap_stride, layout_.element,
                               count);
    }
    from = first;
  }
  piece.row_step = bytes;
}

void TileMerger::find_own(MergePiece& piece, const Span& span) {
  const int inner = layout_.rank - 1;
  const WholeSteps& steps = merge_.whole;
  const std::int64_t offset =
      (span.window * steps.windows[inner] + span.first * steps.taps[inner]) * plan_.whole_width;
  own_.clear();
  for (const std::int64_t place : run_.whole) own_.push_back(plan_.whole + place + offset);
  piece.own = own_.data();
  piece.own_row_step = inner > 0 ? steps.taps[inner - 1] * plan_.whole_width : 0;
  if (plan_.kind == kRowWeights) {
    run_.weights.clear();
    for (std::int64_t row = 0; row < piece.rows; ++row) {
      for (const double* own : own_) run_.weights.push_back(own[row * piece.own_row_step]);
    }
    piece.place_weights = run_.weights.data();
  } else if (plan_.spread) {
    spread_.resize(own_.size() * static_cast<std::size_t>(piece.rows * piece.numbers));
    double* to = spread_.data();
    for (const double*& own : own_) {
      const double* first = to;
      for (std::int64_t row = 0; row < piece.rows; ++row) {
        for (std::int64_t k = 0; k < span.count; ++k, to += width_) {
          std::fill_n(to, width_, own[row * piece.own_row_step + k]);
        }
      }
      own = first;
    }
    piece.own_row_step = piece.numbers;
  }
}

}  // namespace tokfrag
