// What the ways of merging share: the problem as all threads see it, and where rows lie.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "fragments/grid_walk.hpp"
#include "fragments/merge.hpp"

namespace tokfrag {

// How one output number is made from those that lie over it.
enum class MergeMethod {
  kScaled,  // weights that are products over the axes
  kExact,   // unweighted mean of float64: sums carried in two doubles
  kWhole,   // a weight for each element of the window, summed alongside
  kMax,
};

// A place in the fragments that an output row is gathered from.
struct Place {
  std::int64_t offset;  // bytes
  double weight;        // product over the outer axes
  std::int64_t whole;   // where its row of whole-window weights begins
};

struct MergePlan {
  const GridLayout& layout;
  const MergeWindow& window;
  const char* fragments;
  char* out;
  const char* fill;
  Dtype dtype;
  MergeMethod method;
  bool fold;                       // padded positions count for those they were copied from
  std::int64_t width;              // numbers an element
  Odometer rows;                   // positions of the outer axes
  const AxisWindow* last_window;   // of the innermost axis; null for the channels
  std::vector<char> last_covered;  // its positions that a window holds; empty: all
  std::int64_t whole_steps[kMaxLayoutAxes];  // of one tap along each axis, in whole-window weights
  std::int64_t whole_windows[kMaxLayoutAxes];  // of one window along each axis
  std::int64_t fragment_bytes;
  std::atomic<bool> zero_sum{false};  // some whole-window weights sum to zero

  const AxisWindow* axis_window(int axis) const {
    const int source = layout.axes[axis].source;
    return source < 0 ? nullptr : &window.axes[static_cast<std::size_t>(source)];
  }
};

// The places of output rows, one row after another.
class PlaceFinder {
 public:
  explicit PlaceFinder(const MergePlan& plan) : plan_(plan) {}

  // Moves to a row; the axes before `moved` have not changed since the last one.
  void enter(const Odometer& rows, int moved);

  const std::vector<Place>& places() const { return places_; }
  double inverse() const { return inverse_; }  // of the unweighted outer axes' window counts
  double divisor() const { return divisor_; }  // the product of those counts

 private:
  const MergePlan& plan_;
  std::vector<Tap> taps_;
  std::vector<Place> axis_places_[kMaxLayoutAxes];
  std::vector<Place> places_;
  std::vector<Place> product_;
  double inverse_ = 1.0;
  double divisor_ = 1.0;
};

void fill_value(char* to, std::int64_t bytes, const char* value, std::int64_t item);

// Merges any plan, an output row at a time.
void merge_rows(MergePlan& plan, int threads);

// Merges a plan for which `merge_takes_tiles` holds, several rows at a time: the same bits, faster.
bool merge_takes_tiles(const MergePlan& plan);
void merge_tiles(const MergePlan& plan, int threads);

}  // namespace tokfrag
