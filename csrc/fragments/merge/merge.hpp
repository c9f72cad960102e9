// merge: put fragments back where they came from.
//
//   sum:   out[p] = sum of w(k) * fragment(i)[k] over all (i, k) that hold p
//   mean:  the same, divided by the sum of w(k)
//   max:   the largest fragment(i)[k]; NaN if one is; min: the smallest
//   median, vote: the middle one, NaN if one is; the most frequent, of several the lowest
//
// "sum" is the adjoint of extract: with a pad mode that copies data, values at padded positions are
// added to the positions they were copied from. All but "sum" leave padded positions out.
//
// Which input goes which way (pieces.cpp decides; piece_kernel.hpp has the loops):
//
//   windows 8 numbers apart or more, dilation 1   sums as long as a window; each leaves when no
//                                                 later window holds it
//   closer or dilated windows, folded padding     sums of a stretch of the row, which leave
//   together
//   unweighted mean of float64, extremes            as these, in two doubles, or in the output
//   medians and votes                               all numbers of a position sorted in registers
//   lone windows without weights                    copied, eight side by side
//   halves; unweighted bytes, which are exact       float32 sums; float64 where a half overflowed
//   a weight for each number                        a mean's norms beside the sums; those of a tile
//                                                   are kept for all batches and channels
//
// Accumulated in float64, in a fixed order: windows of the innermost axis ascending; for each of
// them, first the sum over the outer axes' windows, row-major. So bits do not depend on threads or
// instruction sets. Halves are accumulated in float32 (in float64 where that overflows), but for
// weighted sums, for more than 4096 windows over a position, and under whole windows. Unweighted
// means of equal values are exact in every type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/dtype.hpp"
#include "fragments/grid/layout.hpp"

namespace tokfrag {

enum class Reduce : std::int32_t { kMean, kSum, kMax, kMin, kMedian, kVote };

// More windows over a position are not ordered here: the work grows with the square.
constexpr std::int64_t kMostOrdered = 64;

// Halves times this are no infinite floats.
constexpr double kMostInverse = 1e30;

// The weights of one axis.
struct AxisWindow {
  std::vector<double> weights;  // `size` of them; empty: all 1
  std::vector<double> sums;     // mean: the sum of weights at each position, 0 where uncovered
  std::vector<double> inverse;  // mean: 1 / sums, 0 where uncovered
  // What extract_weighted needs of a mean: the inverses in float32, which are at most
  // kMostInverse if `fits`, and positions whose inverses are powers of two.
  std::vector<float> singles;
  bool fits = false;
  std::int64_t exact_begin = 0;
  std::int64_t exact_end = 0;
};

// Weights that are one's own, or lie in an array that is kept for as long as they are used.
class WholeWeights {
 public:
  WholeWeights() = default;
  WholeWeights(std::vector<double> values)  // NOLINT: a vector is weights
      : own_(std::make_shared<const std::vector<double>>(std::move(values))),
        data_(own_->data()),
        size_(own_->size()) {}
  WholeWeights(const double* data, std::size_t size, std::shared_ptr<const void> keeper)
      : keeper_(std::move(keeper)), data_(data), size_(size) {}

  const double* data() const { return data_; }
  const double* begin() const { return data_; }
  const double* end() const { return data_ + size_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  double operator[](std::size_t i) const { return data_[i]; }

 private:
  std::shared_ptr<const std::vector<double>> own_;
  std::shared_ptr<const void> keeper_;
  const double* data_ = nullptr;
  std::size_t size_ = 0;
};

// The weights of a whole merge, prepared once for a grid. Either one vector an axis, or `whole`:
// one weight for each fragment element (`size`, or with `per_fragment` (n, `size`)), or with
// `constant` one for all of a fragment (n).
struct MergeWindow {
  Reduce reduce = Reduce::kMean;
  std::vector<AxisWindow> axes;
  WholeWeights whole;
  bool per_fragment = false;
  bool constant = false;
  bool uniform = false;  // every weight is 1
  bool single = false;   // halves and, unweighted, bytes are summed in float32
};

// Fills in the inverses. False if the weights of a covered position sum to zero, or to no finite
// number; `axis` then says on which axis.
bool prepare(const GridShape& grid, MergeWindow& window, int& axis);

// `out` is contiguous and must not overlap `fragments`; every element is written once. `fill`: one
// number of type `dtype`, what positions in no fragment get. float16, bfloat16, float32, float64;
// uint8 to int32 (rounded half to even, saturated); all types for max and min, all but floats for
// votes. Medians and votes take up to kMostOrdered windows over a position. False if the
// whole-window weights of a covered position sum to zero, or to no finite number.
bool merge(const GridLayout& layout, const GridShape& grid, const MergeWindow& window, Dtype dtype,
           const void* fragments, void* out, const void* fill, int threads);

}  // namespace tokfrag
