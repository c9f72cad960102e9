#include "fragments/window_numbers/sorted_blocks.hpp"

#include <algorithm>

namespace tokfrag {

namespace {

// The smaller one first: two instructions, no branch.
void order(double& a, double& b) {
  const double low = b < a ? b : a;
  b = b < a ? a : b;
  a = low;
}

void order_four(double* v) {
  order(v[0], v[1]);
  order(v[2], v[3]);
  order(v[0], v[2]);
  order(v[1], v[3]);
  order(v[1], v[2]);
}

// Two runs of `half` numbers as one, from both ends at once: neither can be used up before the
// middle, and each end waits for its own comparisons only.
void merge_even(const double* a, const double* b, std::int64_t half, double* out) {
  const double* a_back = a + half - 1;
  const double* b_back = b + half - 1;
  double* back = out + 2 * half - 1;
  for (std::int64_t k = 0; k < half; ++k) {
    const double low_a = *a;
    const double low_b = *b;
    const auto second = static_cast<std::int64_t>(low_b < low_a);
    *out++ = low_b < low_a ? low_b : low_a;
    a += 1 - second;
    b += second;
    const double high_a = *a_back;
    const double high_b = *b_back;
    const auto first = static_cast<std::int64_t>(high_b < high_a);
    *back-- = high_b < high_a ? high_a : high_b;
    a_back -= first;
    b_back -= 1 - first;
  }
}

}  // namespace

void SortedBlocks::sort(const double* y, const std::int64_t* begins, const std::int64_t* lengths,
                        std::int64_t count) {
  sorted_.clear();
  begins_.assign(1, 0);
  unordered_.clear();
  for (std::int64_t b = 0; b < count; ++b) {
    const double* from = y + begins[b];
    const std::int64_t n = lengths[b];
    bool unordered = false;
    for (std::int64_t t = 0; t < n; ++t) unordered = unordered || from[t] != from[t];
    unordered_.push_back(unordered ? 1 : 0);
    values_.assign(from, from + n);
    other_.resize(values_.size());
    // A NaN has no place in an order; its windows ask for none.
    ends_.clear();
    if (!unordered) {
      std::int64_t t = 0;
      for (; t + 4 <= n; t += 4) {
        order_four(values_.data() + t);
        ends_.push_back(t + 4);
      }
      for (; t < n; ++t) ends_.push_back(t + 1);
    }
    double* values = values_.data();
    double* other = other_.data();
    merge_runs(values, other);
    sorted_.insert(sorted_.end(), values, values + n);
    begins_.push_back(static_cast<std::int64_t>(sorted_.size()));
  }
}

const double* SortedBlocks::merged(std::int64_t first, std::int64_t last) {
  ends_.clear();
  const std::int64_t begin = begins_[static_cast<std::size_t>(first)];
  for (std::int64_t b = first; b < last; ++b) {
    if (unordered_[static_cast<std::size_t>(b)]) return nullptr;
    ends_.push_back(begins_[static_cast<std::size_t>(b) + 1] - begin);
  }
  const double* from = sorted_.data() + begin;
  if (ends_.size() == 1) return from;
  values_.assign(from, from + ends_.back());
  other_.resize(values_.size());
  double* values = values_.data();
  double* other = other_.data();
  merge_runs(values, other);
  return values;
}

// Neighbouring runs by twos, until one is left; it lies at `values`.
void SortedBlocks::merge_runs(double*& values, double*& other) {
  while (ends_.size() > 1) {
    std::size_t kept = 0;
    std::int64_t begin = 0;
    for (std::size_t k = 0; k < ends_.size(); k += 2) {
      const std::int64_t middle = ends_[k];
      const std::int64_t end = k + 1 < ends_.size() ? ends_[k + 1] : middle;
      if (end - middle == middle - begin) {
        merge_even(values + begin, values + middle, middle - begin, other + begin);
      } else {
        std::merge(values + begin, values + middle, values + middle, values + end, other + begin);
      }
      ends_[kept++] = end;
      begin = end;
    }
    ends_.resize(kept);
    std::swap(values, other);
  }
}

double quantile_between(double below, double above, double share) {
  if (share == 0) return below;
  if (below == above) return below;  // infinities too
  // From the nearer one, so that a share near 1 gives `above` itself.
  return share < 0.5 ? below + (above - below) * share : above - (above - below) * (1 - share);
}

}  // namespace tokfrag
