// What the ways of merging share: the problem as all threads see it, and where rows lie.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "fragments/grid/walk.hpp"
#include "fragments/merge/merge.hpp"

namespace tokfrag {

// How one output number is made from those that lie over it.
enum class MergeMethod {
  kScaled,   // weights that are products over the axes
  kSingle,   // the same for halves and bytes, in float32
  kExact,    // unweighted mean of float64: sums carried in two doubles
  kWhole,    // a weight for each element of the window, summed alongside
  kExtreme,  // the largest or the smallest
  kOrder,    // the middle or the most frequent
};

// A place in the fragments that an output row is gathered from.
struct Place {
  std::int64_t offset;  // bytes
  double weight;        // product over the outer axes
  std::int64_t whole;   // where its row of whole-window weights begins
};

// Where the weights of a window, or of all of them, lie: for each axis of the layout, the steps in
// MergeWindow::whole of one tap and of one window.
struct WholeSteps {
  std::int64_t taps[kMaxLayoutAxes] = {};
  std::int64_t windows[kMaxLayoutAxes] = {};
};

WholeSteps whole_steps(const GridLayout& layout, const GridShape& grid, const MergeWindow& window);

// Weighted fragments on a layout.
struct WeightPlan {
  const GridLayout& layout;
  const MergeWindow& window;
  bool fold;  // padded positions count for those they were copied from
  WholeSteps whole;

  const AxisWindow* axis_window(int axis) const {
    const int source = layout.axes[axis].source;
    return source < 0 ? nullptr : &window.axes[static_cast<std::size_t>(source)];
  }
};

struct MergePlan : WeightPlan {
  const char* fragments;
  char* out;
  const char* fill;
  Dtype dtype;
  MergeMethod method;
  std::int64_t width;              // numbers an element
  Odometer rows;                   // positions of the outer axes
  const AxisWindow* last_window;   // of the innermost axis; null for the channels
  std::vector<char> last_covered;  // its positions that a window holds; empty: all
  std::int64_t fragment_bytes;
  std::atomic<bool> zero_sum{false};  // some whole-window weights sum to zero
};

// The places of output rows, one row after another.
class PlaceFinder {
 public:
  explicit PlaceFinder(const WeightPlan& plan) : plan_(plan) {}
  PlaceFinder(const PlaceFinder&) = delete;
  PlaceFinder& operator=(const PlaceFinder&) = delete;

  // Moves to a row; the axes before `moved` have not changed since the last one. The weights at
  // positions beyond an axis are not normalised.
  void enter(const Odometer& rows, int moved);

  // Appends the weights of the places of the row entered, then of those after it on the last outer
  // axis, which the same windows must hold: `count` rows in all.
  void append_weights(const Odometer& rows, std::int64_t count, std::vector<double>& weights) const;

  const std::vector<Place>& places() const { return entered_->places; }
  double inverse() const { return entered_->inverse; }  // of the unweighted axes' window counts
  double divisor() const { return entered_->divisor; }  // the product of those counts

 private:
  // What the axes up to one come to.
  struct Level {
    std::vector<Place> places;
    double inverse = 1.0;
    double divisor = 1.0;
  };

  void find_axis(int axis, std::int64_t position);
  double weight_of(int axis, const Tap& tap, std::int64_t position) const;
  void count_windows(int axis, std::int64_t position);
  bool slide(int axis, std::int64_t position);

  const WeightPlan& plan_;
  std::vector<Tap> taps_;
  std::vector<Place> axis_places_;
  Level base_{{{0, 1.0, 0}}};
  Level levels_[kMaxLayoutAxes];
  const Level* entered_ = &base_;
  std::int64_t position_ = 0;   // of the row entered, on the last outer axis
  std::int64_t alike_end_ = 0;  // up to here the same windows hold the rows after it
};

void fill_value(char* to, std::int64_t bytes, const char* value, std::int64_t item);

}  // namespace tokfrag
