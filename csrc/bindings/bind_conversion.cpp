#include <pybind11/stl.h>

#include <cstdint>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/cut_plan.hpp"
#include "fragments/extract/extract.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

// `given` for each channel, going on from the first one again if `cyclic`.
template <class Real>
std::vector<Real> for_channels(const std::vector<double>& given, std::int64_t channels,
                               bool cyclic) {
  if (given.empty()) return {};
  std::vector<Real> made(static_cast<std::size_t>(channels + (cyclic ? kConversionBlock : 0)));
  const auto period = static_cast<std::size_t>(channels);
  for (std::size_t i = 0; i < made.size(); ++i) {
    made[i] = static_cast<Real>(given[given.size() == 1 ? 0 : i % period]);
  }
  return made;
}

// Cuts and converts the array at an address; strides in bytes, multiples of the item.
void extract_converted_at(const CutPlan& plan, std::uintptr_t address, const py::tuple& shape,
                          const py::tuple& strides, int type, std::int64_t item, int out_type,
                          std::int64_t out_item, bool channels_last, const py::bytes& pad,
                          const std::vector<double>& scale, const std::vector<double>& shift,
                          std::uintptr_t out, int threads) {
  const Extents sizes = extents(shape);
  Extents apart = extents(strides);
  for (std::int64_t& stride : apart) stride = stride / item * out_item;
  const std::int64_t channels =
      sizes[channels_last ? static_cast<std::size_t>(plan.rank()) + 1 : 1];
  if (channels == 0) return;
  for (const auto& given : {scale, shift}) {
    if (given.size() > 1 && given.size() != static_cast<std::size_t>(channels)) {
      throw py::value_error("scale, shift: one number, or one a channel");
    }
  }
  Conversion conversion{static_cast<Dtype>(type),
                        static_cast<Dtype>(out_type),
                        item,
                        channels,
                        channels_last,
                        {},
                        {}};
  if (converts_in_double(conversion.type)) {
    conversion.wide = {for_channels<double>(scale, channels, channels_last),
                       for_channels<double>(shift, channels, channels_last)};
  } else {
    conversion.narrow = {for_channels<float>(scale, channels, channels_last),
                         for_channels<float>(shift, channels, channels_last)};
  }
  bool keep_axis[kMaxAxes] = {};
  keep_axis[plan.rank() - 1] = true;
  const Extents target = plan.fragment_strides(sizes[0], channels, channels_last, out_item);
  const GridLayout layout = make_layout(plan.grid(), channels_last, out_item, sizes[0], channels,
                                        apart.data(), target.data(), keep_axis);
  const ReleaseGil nogil;
  extract_converted(layout, conversion, reinterpret_cast<const void*>(address),
                    reinterpret_cast<void*>(out), bytes_of(pad), threads);
}

}  // namespace

void bind_conversion(py::module_& module) {
  py::module_ fragments = module.attr("fragments");
  fragments.def("extract_converted", &extract_converted_at, py::arg("plan"), py::arg("address"),
                py::arg("shape"), py::arg("strides"), py::arg("type"), py::arg("item"),
                py::arg("out_type"), py::arg("out_item"), py::arg("channels_last"), py::arg("pad"),
                py::arg("scale"), py::arg("shift"), py::arg("out"), py::arg("threads"));
}

}  // namespace tokfrag
