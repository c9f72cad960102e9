#include "fragments/features/pack.hpp"
#include "fragments/features/rows.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

using Octet = Pack<double>;
constexpr std::int64_t kOctet = kPackOf<double>;

// Lags summed in one sweep: as many as there are registers for.
#ifdef __AVX512F__
constexpr int kLagGroup = 8;
#else
constexpr int kLagGroup = 4;
#endif

// A sweep sums a piece [begin, end) of a row twice: `full` counts every pair that starts in it,
// `cut` only those that end in it too, as the last piece of a window must.

// Writes kRowTotal, kRowSquares and kRowDifferences.
template <bool kDifferences>
void sweep_moments(const double* y, std::int64_t begin, std::int64_t end, double* full,
                   double* cut) {
  Octet sum = {};
  Octet squares = {};
  Octet differences = {};
  Octet value;
  Octet step;
  std::int64_t t = begin;
  for (; t + kOctet < end; t += kOctet) {
    load_pack(y + t, value);
    sum += value;
    if constexpr (kDifferences) {
      load_pack(y + t + 1, step);
      step -= value;
      step *= step;
      differences += step;
    }
    value *= value;
    squares += value;
  }
  load_pack(y + t, value);
  if constexpr (kDifferences) {
    load_pack(y + t + 1, step);
    step -= value;
    step *= step;
    Octet inside = step;
    keep_first(step, end - t);
    keep_first(inside, end - t - 1);
    step += differences;
    inside += differences;
    full[kRowDifferences] = total_of(step);
    cut[kRowDifferences] = total_of(inside);
  }
  keep_first(value, end - t);
  sum += value;
  value *= value;
  squares += value;
  full[kRowTotal] = cut[kRowTotal] = total_of(sum);
  full[kRowSquares] = cut[kRowSquares] = total_of(squares);
}

// `reach` is the longest of all lags.
template <int kLags>
void sweep_lags(const double* y, const std::int64_t* lags, std::int64_t reach, std::int64_t begin,
                std::int64_t end, double* full, double* cut) {
  Octet sums[kLags];
  Octet inside[kLags];
  Octet value;
  Octet product;
  unrolled<kLags>([&](auto k) { sums[k] = Octet{}; });
  std::int64_t t = begin;
  for (; t + kOctet + reach <= end; t += kOctet) {
    load_pack(y + t, value);
    unrolled<kLags>([&](auto k) {
      load_pack(y + t + lags[k], product);
      product *= value;
      sums[k] += product;
    });
  }
  unrolled<kLags>([&](auto k) { inside[k] = sums[k]; });
  for (; t < end; t += kOctet) {
    load_pack(y + t, value);
    unrolled<kLags>([&](auto k) {
      load_pack(y + t + lags[k], product);
      product *= value;
      if (t + kOctet > end) keep_first(product, end - t);
      sums[k] += product;
      keep_first(product, end - t - lags[k]);
      inside[k] += product;
    });
  }
  totals_of(sums, full);
  totals_of(inside, cut);
}

using LagSweep = void (*)(const double* y, const std::int64_t* lags, std::int64_t reach,
                          std::int64_t begin, std::int64_t end, double* full, double* cut);
constexpr LagSweep kLagSweeps[] = {sweep_lags<1>, sweep_lags<2>, sweep_lags<3>,
                                   sweep_lags<4>,
#ifdef __AVX512F__
                                   sweep_lags<5>, sweep_lags<6>, sweep_lags<7>,
                                   sweep_lags<8>
#endif
};

template <bool kGreatest>
double sweep_extreme(const double* raw, std::int64_t begin, std::int64_t end) {
  Octet best;
  Octet value;
  const double first = raw[begin];
  unrolled<kParts>([&](auto k) { best.part[k] = Doubles{} + first; });
  std::int64_t t = begin;
  for (; t + kOctet <= end; t += kOctet) {
    load_pack(raw + t, value);
    unrolled<kParts>([&](auto k) { keep_extreme<kGreatest>(best.part[k], value.part[k]); });
  }
  double kept[kOctet];
  store_pack(best, kept);
  for (std::int64_t k = 0; t < end; ++t, ++k) kept[k] = extreme<kGreatest>(kept[k], raw[t]);
  for (std::int64_t width = kOctet / 2; width > 0; width /= 2) {
    for (std::int64_t k = 0; k < width; ++k) {
      kept[k] = extreme<kGreatest>(kept[k], kept[k + width]);
    }
  }
  return kept[0];
}

class RowSummer {
 public:
  explicit RowSummer(const RowTask& task)
      : task_(task),
        reach_(task.lag_count > 0 ? task.lags[task.lag_count - 1] : 0),
        width_(kRowGroup + row_width(task.lag_count)),
        last_(task.pieces + task.ring * width_),
        window_(last_ + width_),
        prefix_(window_ + width_) {
    std::memset(task.pieces, 0,
                static_cast<std::size_t>((task.ring + 2) * width_) * sizeof(double));
  }

  void run() {
    if (task_.ring == 0) {
      for (std::int64_t i = 0; i < task_.count; ++i) {
        sweep(task_.starts[i], task_.starts[i] + task_.size, window_);
        write(i, last_);
      }
    } else {
      run_shared();
    }
  }

 private:
  double* piece(std::int64_t p) { return task_.pieces + (p & (task_.ring - 1)) * width_; }
  std::int64_t& begin_of(std::int64_t p) { return task_.piece_begin[p & (task_.ring - 1)]; }

  // Sums of a piece, counting all its pairs, into `full`; as the last one of a window into last_.
  void sweep(std::int64_t begin, std::int64_t end, double* full) {
    if (task_.difference_sums) {
      sweep_moments<true>(task_.y, begin, end, full, last_);
    } else {
      sweep_moments<false>(task_.y, begin, end, full, last_);
    }
    if (task_.least) {
      full[kRowLeast] = last_[kRowLeast] = sweep_extreme<false>(task_.raw, begin, end);
    }
    if (task_.greatest) {
      full[kRowGreatest] = last_[kRowGreatest] = sweep_extreme<true>(task_.raw, begin, end);
    }
    sweep_products(begin, end, full);
  }

  void sweep_products(std::int64_t begin, std::int64_t end, double* full) {
    for (std::int64_t k = 0; k < task_.lag_count; k += kLagGroup) {
      const std::int64_t more = task_.lag_count - k;
      kLagSweeps[(more < kLagGroup ? more : kLagGroup) - 1](
          task_.y, task_.lags + k, reach_, begin, end, full + kRowGroup + k, last_ + kRowGroup + k);
    }
  }

  // Cuts the row where a window starts or ends; sums each piece once, and each window from its
  // pieces, the last of which are kept in a ring.
  void run_shared() {
    std::int64_t opened = 0;  // windows whose start has been passed
    std::int64_t closed = 0;  // windows done
    std::int64_t at = task_.starts[0];
    for (std::int64_t next_piece = 0; closed < task_.count; ++next_piece) {
      if (closed == opened) at = task_.starts[opened];  // past a gap between windows
      while (opened < task_.count && task_.starts[opened] == at) {
        task_.first_piece[opened] = next_piece;
        ++opened;
      }
      std::int64_t cut = task_.starts[closed] + task_.size;
      if (opened < task_.count && task_.starts[opened] < cut) cut = task_.starts[opened];
      begin_of(next_piece) = at;
      sweep(at, cut, piece(next_piece));
      at = cut;
      while (closed < opened && task_.starts[closed] + task_.size == at) {
        add_up(closed, next_piece);
        write(closed, window_);
        ++closed;
      }
    }
  }

  // Sums of a window that ends with piece `last`, into window_.
  void add_up(std::int64_t window, std::int64_t last) {
    const std::int64_t first = task_.first_piece[window];
    const std::int64_t end = task_.starts[window] + task_.size;
    std::int64_t tail = last;  // from here on, pairs may reach past the end
    while (begin_of(tail) + reach_ > end) --tail;
    if (tail < last) sweep_products(begin_of(tail), end, window_);
    add_pieces(0, first, last);
    for (std::int64_t k = kRowGroup; k < width_; k += kRowGroup) add_pieces(k, first, tail);
    if (task_.least) {
      double best = last_[kRowLeast];
      for (std::int64_t p = first; p < last; ++p) best = extreme<false>(best, piece(p)[kRowLeast]);
      window_[kRowLeast] = best;
    }
    if (task_.greatest) {
      double best = last_[kRowGreatest];
      for (std::int64_t p = first; p < last; ++p) {
        best = extreme<true>(best, piece(p)[kRowGreatest]);
      }
      window_[kRowGreatest] = best;
    }
  }

  // Eight sums from place `k` on: of the pieces first to last - 1, and of the window's last.
  void add_pieces(std::int64_t k, std::int64_t first, std::int64_t last) {
    Octet sum;
    Octet value;
    load_pack(last_ + k, sum);
    for (std::int64_t p = last - 1; p >= first; --p) {
      load_pack(piece(p) + k, value);
      sum += value;
    }
    store_pack(sum, window_ + k);
  }

  void write(std::int64_t window, const double* sums) {
    task_.total[window] = sums[kRowTotal];
    if (task_.squares) task_.squares[window] = sums[kRowSquares];
    if (task_.difference_sums) task_.difference_sums[window] = sums[kRowDifferences];
    if (task_.least) task_.least[window] = sums[kRowLeast];
    if (task_.greatest) task_.greatest[window] = sums[kRowGreatest];
    if (task_.lag_count > 0) write_lags(window, sums);
  }

  void write_lags(std::int64_t window, const double* sums) {
    const std::int64_t width = width_ - kRowGroup;
    double* products = task_.products + window * width;
    double* edges = task_.edges + window * width;
    std::memcpy(products, sums + kRowGroup, static_cast<std::size_t>(width) * sizeof(double));
    sum_ends(task_.starts[window]);
    const double twice = 2 * sums[kRowTotal];
    for (std::int64_t k = 0; k < task_.lag_count; ++k) {
      edges[k] = twice - prefix_[task_.lags[k] - 1];
    }
  }

  // prefix_[j]: the first j + 1 values of a window and the last j + 1.
  void sum_ends(std::int64_t start) {
    const double* head = task_.y + start;
    const double* tail = task_.y + start + task_.size - 1;
    double sum = 0;
    for (std::int64_t j = 0; j < reach_; ++j) {
      sum += head[j] + tail[-j];
      prefix_[j] = sum;
    }
  }

  const RowTask& task_;
  const std::int64_t reach_;
  const std::int64_t width_;
  double* const last_;
  double* const window_;
  double* const prefix_;
};

void row_sums(const RowTask& task) { RowSummer(task).run(); }

void pair_sums(const double* a, const double* b, const std::int64_t* starts, std::int64_t count,
               std::int64_t size, bool difference, double* sums) {
  Octet from;
  Octet to;
  for (std::int64_t i = 0; i < count; ++i) {
    Octet sum = {};
    for (std::int64_t t = 0; t < size; t += kOctet) {
      load_pack(a + starts[i] + t, from);
      load_pack(b + starts[i] + t, to);
      if (difference) {
        to -= from;
        to *= to;
      } else {
        to *= from;
      }
      if (t + kOctet > size) keep_first(to, size - t);
      sum += to;
    }
    sums[i] = total_of(sum);
  }
}

}  // namespace

extern const RowKernels row_kernel_table;
const RowKernels row_kernel_table = {row_sums, pair_sums};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
