// A small merge that is made again and again: where each number comes from is found once and kept.
//
// Finding it out takes longer than adding a few hundred numbers. The order of sums and products is
// that of pieces.cpp, so the bits are too.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fragments/merge/merge.hpp"

namespace tokfrag {

class SmallMerge {
 public:
  // Null for what is not small, or not float32 sums under weights that are products over the axes.
  static std::unique_ptr<const SmallMerge> make(const GridLayout& layout, const GridShape& grid,
                                                const MergeWindow& window, Dtype dtype);

  // As `merge` with the arguments that this was made of.
  void run(const void* fragments, void* out, const void* fill) const;

 private:
  struct Range {
    std::int32_t first;
    std::int32_t end;
    double factor;  // sums are multiplied by the row's times the position's
  };
  struct Source {
    std::int64_t offset;  // bytes
    double weight;
  };

  SmallMerge() = default;
  void add_rows(const GridLayout& layout, const GridShape& grid, const MergeWindow& window);
  void add_positions(const LayoutAxis& last, const AxisWindow* own);

  std::int64_t batch_ = 0;
  std::int64_t batch_step_ = 0;  // bytes between the fragments of two
  std::int64_t width_ = 1;       // numbers a position
  std::vector<Range> rows_;
  std::vector<Source> places_;  // of rows, in the outer axes' windows
  std::vector<Range> positions_;
  std::vector<Source> taps_;  // of positions, in the innermost axis' windows
};

}  // namespace tokfrag
