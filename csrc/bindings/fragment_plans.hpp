// What the CPU module and the CUDA one bind alike: a grid, a merge's weights on it, and shapes and
// strides as Python gives them.
#pragma once

#include <pybind11/numpy.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/arrays.hpp"
#include "fragments/grid/layout.hpp"
#include "fragments/merge/merge.hpp"
#include "fragments/merge/periods.hpp"

namespace tokfrag {

constexpr int kMaxArrayAxes = kMaxAxes + 3;  // batch, n, channels, *size
using Extents = std::array<std::int64_t, kMaxArrayAxes>;

inline Extents extents(pybind11::handle values, std::int64_t scale = 1) {
  Extents result{};
  if (!PyTuple_Check(values.ptr())) throw pybind11::type_error("shape, strides: takes tuples");
  const auto count = static_cast<std::size_t>(PyTuple_GET_SIZE(values.ptr()));
  if (count > result.size()) throw std::invalid_argument("too many axes");
  for (std::size_t i = 0; i < count; ++i) {
    PyObject* const value = PyTuple_GET_ITEM(values.ptr(), static_cast<Py_ssize_t>(i));
    result[i] = scale * PyLong_AsLongLong(value);
  }
  if (PyErr_Occurred() != nullptr) throw pybind11::error_already_set();
  return result;
}

inline const char* bytes_of(const pybind11::bytes& value) { return PyBytes_AS_STRING(value.ptr()); }

// A grid with its tables: what FragmentGrid.plan holds. Python has checked every number.
class GridPlan {
 public:
  GridPlan(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& size,
           const std::vector<std::int64_t>& stride, const std::vector<std::int64_t>& dilation,
           int edge, int pad_mode)
      : grid_{static_cast<int>(shape.size()), static_cast<PadMode>(pad_mode), {}} {
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      grid_.axes[axis] =
          make_axis(shape[axis], size[axis], stride[axis], dilation[axis], static_cast<Edge>(edge));
    }
    count_fragments();
  }

  // Windows [first, first + counts) along each axis, on the positions they reach over.
  GridPlan(const GridPlan& whole, const Extents& first, const Extents& counts)
      : grid_{whole.grid_.rank, PadMode::kConstant, {}} {
    for (int axis = 0; axis < grid_.rank; ++axis) {
      const auto at = static_cast<std::size_t>(axis);
      GridAxis& own = grid_.axes[axis];
      own = whole.grid_.axes[axis];
      own.last_start = window_start(own, first[at] + counts[at] - 1) - window_start(own, first[at]);
      own.count = counts[at];
      own.length = own.last_start + extent(own);
    }
    count_fragments();
  }

  const GridShape& grid() const { return grid_; }
  int rank() const { return grid_.rank; }
  std::int64_t fragments() const { return fragments_; }

  // (batch, n, channels, *size) or (batch, n, *size, channels)
  Extents fragment_shape(std::int64_t batch, std::int64_t channels, bool channels_last) const {
    Extents shape{batch, fragments_};
    place_axes(shape, 2, channels, channels_last, &GridAxis::size);
    return shape;
  }

  // (batch, channels, *space_time) or (batch, *space_time, channels)
  Extents data_shape(std::int64_t batch, std::int64_t channels, bool channels_last) const {
    Extents shape{batch};
    place_axes(shape, 1, channels, channels_last, &GridAxis::length);
    return shape;
  }

  // Byte strides of such arrays, contiguous.
  Extents fragment_strides(std::int64_t batch, std::int64_t channels, bool channels_last,
                           std::int64_t item) const {
    Extents strides{};
    contiguous_strides(fragment_shape(batch, channels, channels_last).data(), rank() + 3, item,
                       strides.data());
    return strides;
  }
  Extents data_strides(std::int64_t batch, std::int64_t channels, bool channels_last,
                       std::int64_t item) const {
    Extents strides{};
    contiguous_strides(data_shape(batch, channels, channels_last).data(), rank() + 2, item,
                       strides.data());
    return strides;
  }

 private:
  void count_fragments() {
    for (int axis = 0; axis < grid_.rank; ++axis) fragments_ *= grid_.axes[axis].count;
  }

  void place_axes(Extents& shape, std::size_t at, std::int64_t channels, bool channels_last,
                  std::int64_t GridAxis::*length) const {
    if (!channels_last) shape[at++] = channels;
    for (int axis = 0; axis < grid_.rank; ++axis) shape[at++] = grid_.axes[axis].*length;
    if (channels_last) shape[at] = channels;
  }

  GridShape grid_;
  std::int64_t fragments_ = 1;
};

// A merge's weights on a grid: what one (grid, window, reduce) needs, made once.
class WindowWeights {
 public:
  // `vectors`: one float64 vector an axis, or None for ones. `whole`: float64 weights of shape
  // (*size), or (n, *size) or (n) with `per_fragment`; then the vectors are all None.
  // `short_tables`: sums and their inverses leave out what repeats (periods.hpp).
  WindowWeights(const GridPlan& plan, int reduce, const pybind11::list& vectors,
                const pybind11::object& whole, bool per_fragment, bool short_tables = false)
      : plan_(plan) {
    window_.reduce = static_cast<Reduce>(reduce);
    window_.per_fragment = per_fragment;
    for (const pybind11::handle vector : vectors) {
      window_.axes.emplace_back();
      window_.axes.back().weights = numbers(vector);
    }
    window_.whole = weights_in(whole);
    const auto weights = static_cast<std::int64_t>(window_.whole.size());
    window_.constant = per_fragment && weights == plan.fragments();
    GridShape tables = plan.grid();
    for (int i = 0; short_tables && i < plan.rank(); ++i) {
      left_out_[i] = equal_periods(tables.axes[i]);
      tables.axes[i] = shortened(tables.axes[i], left_out_[i]);
    }
    int axis = 0;
    if (!prepare(tables, window_, axis)) {
      throw pybind11::value_error("window: the weights of some positions on axis " +
                                  std::to_string(axis) +
                                  " sum to zero; a mean takes weights that do not");
    }
    for (int i = 0; i < plan.rank(); ++i) {
      keep_axis_[i] =
          !window_.whole.empty() || !window_.axes[static_cast<std::size_t>(i)].weights.empty();
    }
  }

  // The weights of a part of the grid's windows, for merging the positions from `begin` (an axis,
  // counted from the part's first) to which no window outside the part comes: the same bits as a
  // merge of everything. Other positions get numbers that mean nothing.
  WindowWeights(const WindowWeights& all, const Extents& first, const Extents& counts,
                const Extents& begin)
      : plan_(all.plan_, first, counts), window_(all.window_), part_(true) {
    for (int axis = 0; axis < plan_.rank(); ++axis) {
      const auto at = static_cast<std::size_t>(axis);
      const GridAxis& grid = all.plan_.grid().axes[axis];
      const auto shift = static_cast<std::size_t>(window_start(grid, first[at]));
      const auto length = static_cast<std::size_t>(plan_.grid().axes[axis].length);
      AxisWindow& own = window_.axes[at];
      const auto entry = [&](std::size_t position) {
        const auto whole = static_cast<std::int64_t>(position);
        return static_cast<std::size_t>(all.left_out_[axis].entry(whole, grid.stride));
      };
      cut(own.sums, shift, length, static_cast<std::size_t>(begin[at]), entry);
      cut(own.inverse, shift, length, static_cast<std::size_t>(begin[at]), entry);
      own.exact_begin = own.exact_end = 0;  // a part only merges
      own.fits = false;
      // Axes melt as those of the whole grid do, for the order of sums depends on it.
      keep_axis_[axis] = all.keep_axis_[axis] || !takes_whole_axis(grid);
    }
    if (window_.per_fragment) take_fragments(all, first, counts);
  }

  const GridPlan& plan() const { return plan_; }

 protected:
  static std::vector<double> numbers(const pybind11::handle& values) {
    if (values.is_none()) return {};
    const auto array = CastArray<double>::ensure(values);
    if (!array) throw pybind11::error_already_set();
    return {array.data(), array.data() + array.size()};
  }

  // Not copied, but for another type or order, or where it is not aligned: weights of all fragments
  // are as many as those.
  static WholeWeights weights_in(const pybind11::object& values) {
    if (values.is_none()) return {};
    auto array = std::make_shared<const CastArray<double>>(CastArray<double>::ensure(values));
    if (!*array) throw pybind11::error_already_set();
    const double* data = array->data();
    const auto size = static_cast<std::size_t>(array->size());
    return {data, size, std::move(array)};
  }

  GridPlan plan_;
  MergeWindow window_;
  bool keep_axis_[kMaxAxes] = {};
  LeftOut left_out_[kMaxAxes] = {};
  bool part_ = false;

 private:
  // Positions [shift, shift + length); those before `begin` as the one there, so that what lies
  // under equal windows has equal numbers. `entry`: where a position lies in the values.
  template <class Entry>
  static void cut(std::vector<double>& values, std::size_t shift, std::size_t length,
                  std::size_t begin, const Entry& entry) {
    if (values.empty()) return;
    std::vector<double> part(length, 1.0);
    for (std::size_t p = 0; p < length; ++p) {
      const std::size_t from = entry(shift + (p < begin ? begin : p));
      if (from < values.size()) part[p] = values[from];
    }
    values = std::move(part);
  }

  void take_fragments(const WindowWeights& all, const Extents& first, const Extents& counts) {
    std::int64_t fragment = 1;
    std::int64_t total = 1;
    for (int axis = 0; axis < plan_.rank(); ++axis) {
      if (!window_.constant) fragment *= plan_.grid().axes[axis].size;
      total *= counts[static_cast<std::size_t>(axis)];
    }
    std::vector<double> taken;
    taken.reserve(static_cast<std::size_t>(total * fragment));
    for (std::int64_t i = 0; i < total; ++i) {
      std::int64_t rest = i;
      std::int64_t index = 0;
      std::int64_t step = 1;
      for (int axis = plan_.rank() - 1; axis >= 0; --axis) {
        const auto at = static_cast<std::size_t>(axis);
        index += (first[at] + rest % counts[at]) * step;
        rest /= counts[at];
        step *= all.plan_.grid().axes[axis].count;
      }
      const double* from = all.window_.whole.data() + index * fragment;
      taken.insert(taken.end(), from, from + fragment);
    }
    window_.whole = std::move(taken);
  }
};

// `first`, `counts` and `begin` as WindowWeights takes them.
template <class Plan>
Plan part_of(const Plan& all, const pybind11::tuple& first, const pybind11::tuple& counts,
             const pybind11::tuple& begin) {
  return Plan(all, extents(first), extents(counts), extents(begin));
}

}  // namespace tokfrag
