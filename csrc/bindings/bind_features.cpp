#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <tuple>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "fragments/features/features.hpp"
#include "fragments/window_numbers/window_numbers.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

using Table = Array<std::int64_t>;
// length, size, dilation, bytes between neighbours, starts
using Axis = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, Table>;

void bound_features(int type, int out_type, std::uintptr_t x, std::int64_t batch,
                    std::int64_t channels, std::int64_t batch_stride, std::int64_t channel_stride,
                    const std::vector<Axis>& axes, int time_axis, int pad_mode, double pad_value,
                    const std::vector<int>& columns, const std::vector<std::int64_t>& lags,
                    std::uintptr_t out, int threads) {
  std::vector<Feature> features;
  for (const int column : columns) features.push_back(static_cast<Feature>(column));
  FeatureTask task = {static_cast<Dtype>(type),
                      static_cast<Dtype>(out_type),
                      reinterpret_cast<const void*>(x),
                      batch,
                      channels,
                      batch_stride,
                      channel_stride,
                      static_cast<int>(axes.size()),
                      {},
                      time_axis,
                      static_cast<PadMode>(pad_mode),
                      pad_value,
                      features.data(),
                      static_cast<std::int64_t>(features.size()),
                      lags.data(),
                      static_cast<std::int64_t>(lags.size()),
                      reinterpret_cast<void*>(out)};
  for (std::size_t a = 0; a < axes.size(); ++a) {
    const auto& [length, size, dilation, stride, starts] = axes[a];
    task.axes[a] = {length, size, dilation, starts.size(), stride, starts.data()};
  }
  const ReleaseGil nogil;
  fragment_features(task, threads);
}

// number, parameter, first, last
using Column = std::tuple<int, double, std::int64_t, std::int64_t>;

void bound_window_numbers(int type, std::uintptr_t x, std::int64_t batch, std::int64_t channels,
                          std::int64_t batch_stride, std::int64_t channel_stride, const Axis& axis,
                          int pad_mode, double pad_value, const std::vector<Column>& columns,
                          std::uintptr_t out, int threads) {
  const auto& [length, size, dilation, stride, starts] = axis;
  std::vector<NumberColumn> numbers;
  for (const auto& [number, parameter, first, last] : columns) {
    if (number < 0 || number >= kWindowNumbers || first < 0 || last < 0) {
      throw py::value_error("columns: got a number that there is none of");
    }
    numbers.push_back({static_cast<WindowNumber>(number), parameter, first, last});
    const WindowNumber kind = numbers.back().number;
    if ((kind == WindowNumber::kEnergy && (first > last || last > size)) ||
        (kind == WindowNumber::kValue && first >= size) ||
        (kind == WindowNumber::kQuantile && !(parameter >= 0 && parameter <= 1))) {
      throw py::value_error("columns: got a place outside the windows");
    }
  }
  const WindowNumberTask task = {static_cast<Dtype>(type),
                                 reinterpret_cast<const void*>(x),
                                 batch,
                                 channels,
                                 batch_stride,
                                 channel_stride,
                                 {length, size, dilation, starts.size(), stride, starts.data()},
                                 static_cast<PadMode>(pad_mode),
                                 pad_value,
                                 numbers.data(),
                                 static_cast<std::int64_t>(numbers.size()),
                                 reinterpret_cast<double*>(out)};
  const ReleaseGil nogil;
  window_numbers(task, threads);
}

}  // namespace

void bind_features(py::module_& module) {
  py::module_ features = module.def_submodule("features");
  features.def("fragment_features", &bound_features, py::arg("type"), py::arg("out_type"),
               py::arg("x"), py::arg("batch"), py::arg("channels"), py::arg("batch_stride"),
               py::arg("channel_stride"), py::arg("axes"), py::arg("time_axis"),
               py::arg("pad_mode"), py::arg("pad_value"), py::arg("columns"), py::arg("lags"),
               py::arg("out"), py::arg("threads"));
  features.def("window_numbers", &bound_window_numbers, py::arg("type"), py::arg("x"),
               py::arg("batch"), py::arg("channels"), py::arg("batch_stride"),
               py::arg("channel_stride"), py::arg("axis"), py::arg("pad_mode"),
               py::arg("pad_value"), py::arg("columns"), py::arg("out"), py::arg("threads"));
}

}  // namespace tokfrag
