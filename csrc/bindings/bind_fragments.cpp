#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/cut_plan.hpp"
#include "bindings/fragment_arrays.hpp"
#include "bindings/fragment_plans.hpp"
#include "bindings/plain_method.hpp"
#include "core/buffer_pool.hpp"
#include "fragments/merge/adjoint.hpp"
#include "fragments/merge/small_merge.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

// The result of a call: `out`, if it is given, else a fresh array. None: `out` does not take it.
py::object result_of(py::handle out, const ReadArray& x, const Extents& shape, int rank) {
  if (out.is_none()) return new_array(x.type(), shape, rank);
  if (!takes_result(out, x, shape, rank)) return py::none();
  return py::reinterpret_borrow<py::object>(out);
}

void* numbers_in(py::handle array) { return py::detail::array_proxy(array.ptr())->data; }

// extract(x, channels_last, pad, out, threads)
PyObject* extract_array(const CutPlan& plan, const PlainArguments& arguments) {
  arguments.expect(5, "extract");
  if (!is_array(arguments[0])) throw py::type_error("x: takes a NumPy array");
  const ReadArray x(arguments[0]);
  const bool channels_last = arguments.flag(1);
  const int rank = plan.rank() + 2;
  if (x.rank != rank) return py::none().release().ptr();
  const std::int64_t channels = x.shape[static_cast<std::size_t>(channels_last ? rank - 1 : 1)];
  if (x.shape != plan.data_shape(x.shape[0], channels, channels_last)) {
    return py::none().release().ptr();
  }
  py::object result = result_of(arguments[3], x,
                                plan.fragment_shape(x.shape[0], channels, channels_last), rank + 1);
  if (result.is_none()) return result.release().ptr();
  plan.run(x.shape, x.strides, x.item, x.held->data, channels_last, arguments.bytes(2),
           numbers_in(result), static_cast<int>(arguments.integer(4)));
  return result.release().ptr();
}

// extract_at(address, shape, strides, item, channels_last, pad, out, threads)
PyObject* extract_at(const CutPlan& plan, const PlainArguments& arguments) {
  arguments.expect(8, "extract_at");
  const std::int64_t item = arguments.integer(3);
  plan.run(extents(arguments[1]), extents(arguments[2], item), item, arguments.address(0),
           arguments.flag(4), arguments.bytes(5), arguments.address(6),
           static_cast<int>(arguments.integer(7)));
  return py::none().release().ptr();
}

class WindowPlan : public WindowWeights {
 public:
  using WindowWeights::WindowWeights;

  void run(const Extents& shape, const Extents& strides, Dtype dtype, std::int64_t item,
           const void* fragments, bool channels_last, const char* fill, void* out,
           int threads) const {
    const auto layout_of = [&] {
      const std::int64_t batch = shape[0];
      const std::int64_t channels =
          shape[channels_last ? static_cast<std::size_t>(plan_.rank()) + 2 : 2];
      const Extents target = plan_.data_strides(batch, channels, channels_last, item);
      return make_layout(plan_.grid(), channels_last, item, batch, channels, target.data(),
                         strides.data(), keep_axis_);
    };
    const auto make = [&] { return SmallMerge::make(layout_of(), plan_.grid(), window_, dtype); };
    const auto type = static_cast<std::int64_t>(dtype);
    if (const auto* small = kept_.again({shape, strides, type, channels_last}, make)) {
      small->run(fragments, out, fill);
      return;
    }
    const GridLayout layout = layout_of();
    bool weighted = true;
    {
      const ReleaseGil nogil;
      weighted = merge(layout, plan_.grid(), window_, dtype, fragments, out, fill, threads);
    }
    if (!weighted && !part_) {
      throw py::value_error(
          "window: the weights of some positions sum to zero; a mean takes weights that do not");
    }
  }

  // The adjoint; `shape` and `strides` are those of the data.
  void run_extract(const Extents& shape, const Extents& strides, Dtype dtype, std::int64_t item,
                   const void* data, bool channels_last, void* out, int threads) const {
    const std::int64_t batch = shape[0];
    const std::int64_t channels =
        shape[channels_last ? static_cast<std::size_t>(plan_.rank()) + 1 : 1];
    const Extents target = plan_.fragment_strides(batch, channels, channels_last, item);
    const GridLayout layout = make_layout(plan_.grid(), channels_last, item, batch, channels,
                                          strides.data(), target.data(), keep_axis_);
    const ReleaseGil nogil;
    extract_weighted(layout, plan_.grid(), window_, dtype, data, out, threads);
  }

 private:
  mutable KeptCall<SmallMerge> kept_;
};

// merge(fragments, dtype, channels_last, fill, out, threads)
PyObject* merge_array(const WindowPlan& window, const PlainArguments& arguments) {
  arguments.expect(6, "merge");
  if (!is_array(arguments[0])) throw py::type_error("fragments: takes a NumPy array");
  const ReadArray fragments(arguments[0]);
  const bool channels_last = arguments.flag(2);
  const GridPlan& plan = window.plan();
  const int rank = plan.rank() + 3;
  if (fragments.rank != rank) return py::none().release().ptr();
  const Extents& shape = fragments.shape;
  const std::int64_t channels = shape[static_cast<std::size_t>(channels_last ? rank - 1 : 2)];
  if (shape != plan.fragment_shape(shape[0], channels, channels_last)) {
    return py::none().release().ptr();
  }
  py::object result = result_of(arguments[4], fragments,
                                plan.data_shape(shape[0], channels, channels_last), rank - 1);
  if (result.is_none()) return result.release().ptr();
  window.run(shape, fragments.strides, static_cast<Dtype>(arguments.integer(1)), fragments.item,
             fragments.held->data, channels_last, arguments.bytes(3), numbers_in(result),
             static_cast<int>(arguments.integer(5)));
  return result.release().ptr();
}

// merge_at(address, shape, strides, dtype, item, channels_last, fill, out, threads)
PyObject* merge_at(const WindowPlan& window, const PlainArguments& arguments) {
  arguments.expect(9, "merge_at");
  const std::int64_t item = arguments.integer(4);
  window.run(extents(arguments[1]), extents(arguments[2], item),
             static_cast<Dtype>(arguments.integer(3)), item, arguments.address(0),
             arguments.flag(5), arguments.bytes(6), arguments.address(7),
             static_cast<int>(arguments.integer(8)));
  return py::none().release().ptr();
}

py::array extract_weighted_array(const WindowPlan& window, const py::array& x, int dtype,
                                 bool channels_last, int threads) {
  const int rank = window.plan().rank() + 2;
  Extents shape{};
  Extents strides{};
  for (int axis = 0; axis < rank; ++axis) {
    shape[static_cast<std::size_t>(axis)] = x.shape(axis);
    strides[static_cast<std::size_t>(axis)] = x.strides(axis);
  }
  const std::int64_t channels = shape[static_cast<std::size_t>(channels_last ? rank - 1 : 1)];
  py::array result = new_array(
      x.dtype(), window.plan().fragment_shape(shape[0], channels, channels_last), rank + 1);
  window.run_extract(shape, strides, static_cast<Dtype>(dtype), x.itemsize(), x.data(),
                     channels_last, const_cast<void*>(static_cast<const void*>(result.data())),
                     threads);
  return result;
}

void extract_weighted_at(const WindowPlan& window, std::uintptr_t address, const py::tuple& shape,
                         const py::tuple& strides, int dtype, std::int64_t item, bool channels_last,
                         std::uintptr_t out, int threads) {
  window.run_extract(extents(shape), extents(strides, item), static_cast<Dtype>(dtype), item,
                     reinterpret_cast<const void*>(address), channels_last,
                     reinterpret_cast<void*>(out), threads);
}

}  // namespace

void bind_fragments(py::module_& module) {
  py::module_ fragments = module.def_submodule("fragments");

  fragments.def(
      "empty_bytes",
      [](std::int64_t count) { return new_array(py::dtype::of<std::uint8_t>(), {count}, 1); },
      py::arg("count"), "An uninitialised uint8 array; when large, of reused memory.");
  fragments.def("release_workspace", &release_buffers,
                "Gives the memory kept for outputs back to the system; returns its bytes.");

  py::class_<CutPlan> grid_plan(fragments, "GridPlan", py::module_local(),
                                "A grid's arithmetic, ready for the kernels.");
  grid_plan.def(
      py::init<const std::vector<std::int64_t>&, const std::vector<std::int64_t>&,
               const std::vector<std::int64_t>&, const std::vector<std::int64_t>&, int, int>(),
      py::arg("shape"), py::arg("size"), py::arg("stride"), py::arg("dilation"), py::arg("edge"),
      py::arg("pad_mode"));
  static PyMethodDef extract_method = {"extract", nullptr, 0,
                                       "extract(x, channels_last, pad, out, threads): cuts a NumPy "
                                       "array. None where it or `out` does not fit the grid."};
  static PyMethodDef extract_at_method = {
      "extract_at", nullptr, 0,
      "extract_at(address, shape, strides, item, channels_last, pad, out, threads): cuts the array "
      "at an address; strides in items."};
  add_plain_method<CutPlan, &extract_array>(grid_plan, extract_method);
  add_plain_method<CutPlan, &extract_at>(grid_plan, extract_at_method);

  py::class_<WindowPlan> window_plan(fragments, "WindowPlan", py::module_local(),
                                     "A merge's weights on a grid.");
  window_plan
      .def(py::init<const CutPlan&, int, const py::list&, const py::object&, bool>(),
           py::arg("plan"), py::arg("reduce"), py::arg("vectors"), py::arg("whole"),
           py::arg("per_fragment"))
      .def("part", &part_of<WindowPlan>, py::arg("first"), py::arg("counts"), py::arg("begin"),
           "The weights of some windows, for merging the positions that no others hold.")
      .def("extract", &extract_weighted_array, py::arg("x"), py::arg("dtype"),
           py::arg("channels_last"), py::arg("threads"),
           "The adjoint of merge: cuts a NumPy array, times the weights.")
      .def("extract_at", &extract_weighted_at, py::arg("address"), py::arg("shape"),
           py::arg("strides"), py::arg("dtype"), py::arg("item"), py::arg("channels_last"),
           py::arg("out"), py::arg("threads"),
           "The same for the array at an address; strides in items.");
  static PyMethodDef merge_method = {"merge", nullptr, 0,
                                     "merge(fragments, dtype, channels_last, fill, out, threads): "
                                     "merges a NumPy array. None where "
                                     "it or `out` does not fit the grid."};
  static PyMethodDef merge_at_method = {"merge_at", nullptr, 0,
                                        "merge_at(address, shape, strides, dtype, item, "
                                        "channels_last, fill, out, threads): merges the "
                                        "fragments at an address; strides in items."};
  add_plain_method<WindowPlan, &merge_array>(window_plan, merge_method);
  add_plain_method<WindowPlan, &merge_at>(window_plan, merge_at_method);
}

}  // namespace tokfrag
