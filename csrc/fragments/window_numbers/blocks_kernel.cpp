#include <cmath>

#include "fragments/features/pack.hpp"
#include "fragments/window_numbers/blocks.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

using Eight = Pack<double>;
constexpr std::int64_t kEight = kPackOf<double>;
constexpr double kPlace[] = {0, 1, 2, 3, 4, 5, 6, 7};

// body(at, kept) for each eight of n values; `kept` of them count.
template <class Body>
TOKFRAG_INLINE void by_eights(std::int64_t n, const Body& body) {
  std::int64_t t = 0;
  for (; t + kEight <= n; t += kEight) body(t, kEight);
  if (t < n) body(t, n - t);
}

TOKFRAG_INLINE Eight eight_at(const double* from, std::int64_t kept) {
  Eight value;
  load_pack(from, value);
  if (kept < kEight) keep_first(value, kept);
  return value;
}

// ---- one block

TOKFRAG_INLINE void sum_values(const double* y, std::int64_t n, NumberBlock& block) {
  Eight sum = {};
  Eight low = pack_of(y[0]);
  Eight high = low;
  by_eights(
      n, [&](std::int64_t t, std::int64_t kept) __attribute__((always_inline)) {
        Eight value;
        load_pack(y + t, value);
        if (kept < kEight) {
          Eight known = value;
          keep_first(known, kept);
          sum += known;
          replace_rest(value, kept, pack_of(y[0]));
        } else {
          sum += value;
        }
        unrolled<kParts>([&](auto k) {
          low.part[k] = smaller(value.part[k], low.part[k]);
          high.part[k] = greater(value.part[k], high.part[k]);
        });
      });
  block.total = total_of(sum);
  block.least = fold_of<Least>(low);
  block.greatest = fold_of<Greatest>(high);
  const double mean = block.total / static_cast<double>(n);
  block.pivot = mean < block.least ? block.least : mean > block.greatest ? block.greatest : mean;
}

template <bool kPowers>
TOKFRAG_INLINE void sum_powers(const double* y, std::int64_t n, NumberBlock& block) {
  const Eight about = pack_of(block.pivot);
  Eight residual = {};
  Eight squares = {};
  Eight cubes = {};
  Eight fourths = {};
  by_eights(
      n, [&](std::int64_t t, std::int64_t kept) __attribute__((always_inline)) {
        Eight value;
        load_pack(y + t, value);
        value -= about;
        if (kept < kEight) keep_first(value, kept);
        residual += value;
        Eight power = value;
        power *= value;
        squares += power;
        if constexpr (kPowers) {
          value *= power;
          cubes += value;
          power *= power;
          fourths += power;
        }
      });
  block.residual = total_of(residual);
  block.squares = total_of(squares);
  if constexpr (kPowers) {
    block.cubes = total_of(cubes);
    block.fourths = total_of(fourths);
  }
}

TOKFRAG_INLINE void sum_lines(const double* y, std::int64_t n, NumberBlock& block) {
  const Eight about = pack_of(block.pivot);
  const Eight step = pack_of(static_cast<double>(kEight));
  Eight place;
  load_pack(kPlace, place);
  place -= pack_of(static_cast<double>(n - 1) / 2);
  Eight trend = {};
  Eight changes = {};
  Eight steps = {};
  by_eights(
      n, [&](std::int64_t t, std::int64_t kept) __attribute__((always_inline)) {
        Eight value;
        Eight next;
        load_pack(y + t, value);
        load_pack(y + t + 1, next);
        next -= value;
        value -= about;
        value *= place;
        place += step;
        if (kept < kEight) keep_first(value, kept);
        if (t + kEight >= n) keep_first(next, kept - 1);
        trend += value;
        unrolled<kParts>(
            [&](auto k) { next.part[k] = next.part[k] < 0 ? -next.part[k] : next.part[k]; });
        changes += next;
        next *= next;
        steps += next;
      });
  block.trend = total_of(trend);
  block.changes = total_of(changes);
  block.change_out = std::abs(y[n] - y[n - 1]);
  block.steps = total_of(steps);
  block.step_out = block.change_out * block.change_out;
}

TOKFRAG_INLINE void sum_harmonic(const double* y, std::int64_t n, double pivot,
                                 const Harmonic& harmonic, double* sums) {
  const Eight about = pack_of(pivot);
  Eight real = {};
  Eight imaginary = {};
  by_eights(
      n, [&](std::int64_t t, std::int64_t kept) __attribute__((always_inline)) {
        Eight value;
        load_pack(y + t, value);
        value -= about;
        if (kept < kEight) keep_first(value, kept);
        Eight turned = eight_at(harmonic.cosines + t, kEight);
        turned *= value;
        real += turned;
        value *= eight_at(harmonic.sines + t, kEight);
        imaginary += value;
      });
  sums[0] = total_of(real);
  sums[1] = total_of(imaginary);
}

TOKFRAG_INLINE void count_crossings(const double* y, std::int64_t n, double level, double* counts) {
  std::int64_t inside = 0;
  for (std::int64_t t = 0; t + 1 < n; ++t) {
    inside += static_cast<std::int64_t>((y[t] > level) != (y[t + 1] > level));
  }
  counts[0] = static_cast<double>(inside);
  counts[1] = (y[n - 1] > level) != (y[n] > level) ? 1 : 0;
}

void sum_blocks(const NumberBlockTask& task) {
  double* extra = task.extra;
  for (std::int64_t b = 0; b < task.count; ++b) {
    const double* y = task.y + task.begins[b];
    const std::int64_t n = task.lengths[b];
    NumberBlock& block = task.blocks[b];
    sum_values(y, n, block);
    if (task.wants_powers) {
      sum_powers<true>(y, n, block);
    } else {
      sum_powers<false>(y, n, block);
    }
    if (task.wants_lines) sum_lines(y, n, block);
    for (std::int64_t k = 0; k < task.harmonic_count; ++k, extra += 2) {
      sum_harmonic(y, n, block.pivot, task.harmonics[k], extra);
    }
    for (std::int64_t k = 0; k < task.level_count; ++k, extra += 2) {
      count_crossings(y, n, task.levels[k], extra);
    }
  }
}

// ---- windows

class WindowWriter {
 public:
  explicit WindowWriter(const NumberWindowTask& task)
      : task_(task), width_(task.summed.extra_width()) {}

  void run() {
    for (std::int64_t w = 0; w < task_.count; ++w) {
      y_ = task_.summed.y + task_.starts[w];
      first_ = task_.first[w];
      last_ = task_.last[w];
      find_mean();
      double* out = task_.out + w * task_.out_step;
      for (std::int64_t c = 0; c < task_.column_count; ++c) {
        if (task_.columns[c].number == WindowNumber::kQuantile) continue;
        out[c] = number_of(task_.columns[c], task_.places[c]);
      }
    }
  }

 private:
  const NumberBlock& block(std::int64_t b) const { return task_.summed.blocks[b]; }
  double length(std::int64_t b) const { return static_cast<double>(task_.summed.lengths[b]); }
  // From the window's start to the block's.
  std::int64_t offset(std::int64_t b) const {
    return task_.summed.begins[b] - task_.summed.begins[first_];
  }

  void find_mean() {
    double total = block(first_).total;
    least_ = block(first_).least;
    greatest_ = block(first_).greatest;
    for (std::int64_t b = first_ + 1; b < last_; ++b) {
      total += block(b).total;
      least_ = block(b).least < least_ ? block(b).least : least_;
      greatest_ = block(b).greatest > greatest_ ? block(b).greatest : greatest_;
    }
    const double mean = total / static_cast<double>(task_.size);
    mean_ = mean < least_ ? least_ : mean > greatest_ ? greatest_ : mean;
  }

  double number_of(const NumberColumn& column, std::int64_t place) const {
    switch (column.number) {
      case WindowNumber::kMean:
        return mean_;
      case WindowNumber::kLeast:
        return unordered() ? __builtin_nan("") : least_;
      case WindowNumber::kGreatest:
        return unordered() ? __builtin_nan("") : greatest_;
      case WindowNumber::kPower:
        return power(column.first);
      case WindowNumber::kChanges:
        return changes(&NumberBlock::changes, &NumberBlock::change_out);
      case WindowNumber::kSteps:
        return changes(&NumberBlock::steps, &NumberBlock::step_out);
      case WindowNumber::kTrend:
        return trend();
      case WindowNumber::kCosine:
        return harmonic(place, false);
      case WindowNumber::kSine:
        return harmonic(place, true);
      case WindowNumber::kCrossings:
        return crossings(place);
      case WindowNumber::kEnergy:
        return energy(column.first, column.last);
      case WindowNumber::kAbove:
        return static_cast<double>(beside<true>());
      case WindowNumber::kBelow:
        return static_cast<double>(beside<false>());
      case WindowNumber::kAboveRun:
        return static_cast<double>(run_beside<true>());
      case WindowNumber::kBelowRun:
        return static_cast<double>(run_beside<false>());
      case WindowNumber::kGreatestAt:
        return static_cast<double>(place_of<true>(column.first != 0));
      case WindowNumber::kLeastAt:
        return static_cast<double>(place_of<false>(column.first != 0));
      case WindowNumber::kValue:
        return y_[column.first];
      case WindowNumber::kQuantile:
        break;
    }
    return 0;
  }

  // sum (d + a)^p of each block, a = pivot - mean.
  double power(std::int64_t p) const {
    double sum = 0;
    for (std::int64_t b = first_; b < last_; ++b) {
      const NumberBlock& s = block(b);
      const double a = s.pivot - mean_;
      const double n = length(b);
      if (p == 2) {
        sum += s.squares + a * (2 * s.residual + n * a);
      } else if (p == 3) {
        sum += s.cubes + a * (3 * s.squares + a * (3 * s.residual + n * a));
      } else {
        sum += s.fourths + a * (4 * s.cubes + a * (6 * s.squares + a * (4 * s.residual + n * a)));
      }
    }
    return p % 2 == 0 && sum < 0 ? 0 : sum;
  }

  // What lies inside the blocks, and between them.
  double changes(double NumberBlock::*inside, double NumberBlock::*out) const {
    double sum = block(first_).*inside;
    for (std::int64_t b = first_ + 1; b < last_; ++b) {
      sum += block(b - 1).*out;
      sum += block(b).*inside;
    }
    return sum;
  }

  double trend() const {
    const double middle = static_cast<double>(task_.size - 1) / 2;
    double sum = 0;
    for (std::int64_t b = first_; b < last_; ++b) {
      const NumberBlock& s = block(b);
      const double center = static_cast<double>(offset(b)) + (length(b) - 1) / 2 - middle;
      sum += s.trend + center * (s.residual + length(b) * (s.pivot - mean_));
    }
    return sum;
  }

  // Each block's sum is turned by where it begins.
  double harmonic(std::int64_t place, bool sine) const {
    const Harmonic& table = task_.summed.harmonics[place];
    double sum = 0;
    for (std::int64_t b = first_; b < last_; ++b) {
      const double* extra = task_.summed.extra + b * width_ + 2 * place;
      const double a = block(b).pivot - mean_;
      const std::int64_t n = task_.summed.lengths[b];
      const double real = extra[0] + a * table.cosine_sums[n];
      const double imaginary = extra[1] + a * table.sine_sums[n];
      const double cosine = table.cosines[offset(b)];
      const double turned = table.sines[offset(b)];
      sum += sine ? turned * real + cosine * imaginary : cosine * real - turned * imaginary;
    }
    return sum;
  }

  double crossings(std::int64_t place) const {
    const double* extra = task_.summed.extra + 2 * (task_.summed.harmonic_count + place);
    double sum = extra[first_ * width_];
    for (std::int64_t b = first_ + 1; b < last_; ++b) {
      sum += extra[(b - 1) * width_ + 1] + extra[b * width_];
    }
    return sum;
  }

  double energy(std::int64_t first, std::int64_t last) const {
    Eight sum = {};
    by_eights(
        last - first, [&](std::int64_t t, std::int64_t kept) __attribute__((always_inline)) {
          Eight value = eight_at(y_ + first + t, kept);
          value *= value;
          sum += value;
        });
    return total_of(sum);
  }

  template <bool kAbove>
  static bool is_beside(double value, double mean) {
    return kAbove ? value > mean : value < mean;
  }

  template <bool kAbove>
  std::int64_t beside() const {
    std::int64_t count = 0;
    for (std::int64_t t = 0; t < task_.size; ++t) {
      count += static_cast<std::int64_t>(is_beside<kAbove>(y_[t], mean_));
    }
    return count;
  }

  template <bool kAbove>
  std::int64_t run_beside() const {
    std::int64_t best = 0;
    std::int64_t run = 0;
    for (std::int64_t t = 0; t < task_.size; ++t) {
      // No branch, for it could not be foretold.
      run = (run + 1) & -static_cast<std::int64_t>(is_beside<kAbove>(y_[t], mean_));
      best = run > best ? run : best;
    }
    return best;
  }

  // Of the extreme value, or of a NaN.
  template <bool kGreatest>
  std::int64_t place_of(bool last) const {
    const std::int64_t n = task_.size;
    const bool nan = unordered();
    const double wanted = kGreatest ? greatest_ : least_;
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t t = last ? n - 1 - k : k;
      if (nan ? y_[t] != y_[t] : y_[t] == wanted) return t;
    }
    return 0;
  }

  // Whether the window holds a NaN: if its mean is a number, it holds none.
  bool unordered() const {
    if (mean_ == mean_) return false;
    for (std::int64_t t = 0; t < task_.size; ++t) {
      if (y_[t] != y_[t]) return true;
    }
    return false;
  }

  const NumberWindowTask& task_;
  const std::int64_t width_;
  const double* y_ = nullptr;
  std::int64_t first_ = 0;
  std::int64_t last_ = 0;
  double mean_ = 0;
  double least_ = 0;
  double greatest_ = 0;
};

void write_windows(const NumberWindowTask& task) { WindowWriter(task).run(); }

}  // namespace

extern const NumberKernels number_kernel_table;
const NumberKernels number_kernel_table = {sum_blocks, write_windows};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
