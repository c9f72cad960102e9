#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "core/buffer_pool.hpp"
#include "core/checked.hpp"
#include "fragments/extract.hpp"
#include "fragments/merge.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

constexpr int kMaxArrayAxes = kMaxAxes + 3;  // batch, n, channels, *size
// From here on a fresh output is worth huge pages and cache-line alignment.
constexpr std::int64_t kHugeOutputBytes = std::int64_t{1} << 20;

using Extents = std::array<std::int64_t, kMaxArrayAxes>;

Extents extents(const py::tuple& values, std::int64_t scale = 1) {
  Extents result{};
  if (values.size() > result.size()) throw std::invalid_argument("too many axes");
  for (std::size_t i = 0; i < values.size(); ++i) {
    result[i] = scale * PyLong_AsLongLong(values[i].ptr());
  }
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  return result;
}

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
      fragments_ *= grid_.axes[axis].count;
    }
  }

  const GridShape& grid() const { return grid_; }
  int rank() const { return grid_.rank; }

  // (batch, n, channels, *size) or (batch, n, *size, channels)
  Extents fragment_shape(std::int64_t batch, std::int64_t channels, bool channels_last) const {
    Extents shape{batch, fragments_};
    shape[channels_last ? 2 + static_cast<std::size_t>(grid_.rank) : 2] = channels;
    for (int axis = 0; axis < grid_.rank; ++axis) {
      shape[static_cast<std::size_t>(axis + (channels_last ? 2 : 3))] = grid_.axes[axis].size;
    }
    return shape;
  }

  // (batch, channels, *space_time) or (batch, *space_time, channels)
  Extents data_shape(std::int64_t batch, std::int64_t channels, bool channels_last) const {
    Extents shape{batch};
    shape[channels_last ? 1 + static_cast<std::size_t>(grid_.rank) : 1] = channels;
    for (int axis = 0; axis < grid_.rank; ++axis) {
      shape[static_cast<std::size_t>(axis + (channels_last ? 1 : 2))] = grid_.axes[axis].length;
    }
    return shape;
  }

 private:
  GridShape grid_;
  std::int64_t fragments_ = 1;
};

// A fresh C-contiguous array; when large, on huge pages and on memory of earlier outputs.
py::array new_array(const py::dtype& type, const Extents& shape, int rank) {
  std::int64_t bytes = type.itemsize();
  for (int axis = 0; axis < rank; ++axis) {
    bytes = checked_multiply(bytes, shape[static_cast<std::size_t>(axis)]);
  }
  const std::vector<py::ssize_t> sizes(shape.begin(), shape.begin() + rank);
  if (bytes < kHugeOutputBytes) return py::array(type, sizes);
  auto buffer = std::make_unique<HugeBuffer>(take_buffer(bytes));
  void* address = buffer->data();
  const py::capsule owner(buffer.release(), [](void* held) {
    const std::unique_ptr<HugeBuffer> block(static_cast<HugeBuffer*>(held));
    give_buffer(std::move(*block));
  });
  return py::array(type, sizes, address, owner);
}

const char* bytes_of(const py::bytes& value) { return PyBytes_AS_STRING(value.ptr()); }

void run_extract(const GridPlan& plan, const Extents& shape, const Extents& strides,
                 std::int64_t item, const void* data, bool channels_last, const char* pad,
                 void* out, int threads) {
  const std::int64_t batch = shape[0];
  const std::int64_t channels =
      shape[channels_last ? static_cast<std::size_t>(plan.rank()) + 1 : 1];
  const Extents target = plan.fragment_shape(batch, channels, channels_last);
  Extents target_strides{};
  contiguous_strides(target.data(), plan.rank() + 3, item, target_strides.data());
  const GridLayout layout = make_layout(plan.grid(), channels_last, item, batch, channels,
                                        strides.data(), target_strides.data(), nullptr);
  const py::gil_scoped_release nogil;
  extract(layout, data, out, pad, threads);
}

py::array extract_array(const GridPlan& plan, const py::array& x, bool channels_last,
                        const py::bytes& pad, py::object& out, int threads) {
  const int rank = plan.rank() + 2;
  Extents shape{};
  Extents strides{};
  for (int axis = 0; axis < rank; ++axis) {
    shape[static_cast<std::size_t>(axis)] = x.shape(axis);
    strides[static_cast<std::size_t>(axis)] = x.strides(axis);
  }
  const std::int64_t channels = shape[static_cast<std::size_t>(channels_last ? rank - 1 : 1)];
  py::array result =
      out.is_none()
          ? new_array(x.dtype(), plan.fragment_shape(shape[0], channels, channels_last), rank + 1)
          : py::reinterpret_borrow<py::array>(out);
  run_extract(plan, shape, strides, x.itemsize(), x.data(), channels_last, bytes_of(pad),
              const_cast<void*>(static_cast<const void*>(result.data())), threads);
  return result;
}

void extract_at(const GridPlan& plan, std::uintptr_t address, const py::tuple& shape,
                const py::tuple& strides, std::int64_t item, bool channels_last,
                const py::bytes& pad, std::uintptr_t out, int threads) {
  run_extract(plan, extents(shape), extents(strides, item), item,
              reinterpret_cast<const void*>(address), channels_last, bytes_of(pad),
              reinterpret_cast<void*>(out), threads);
}

// A merge's weights on a grid: what one (grid, window, reduce) needs, made once.
class WindowPlan {
 public:
  // `vectors`: one float64 vector an axis, or None for ones. `whole`: float64 weights of shape
  // (*size), or (n, *size) with `per_fragment`; then the vectors are all None.
  WindowPlan(const GridPlan& plan, int reduce, const py::list& vectors, const py::object& whole,
             bool per_fragment)
      : plan_(plan) {
    window_.reduce = static_cast<Reduce>(reduce);
    window_.per_fragment = per_fragment;
    for (const py::handle vector : vectors) {
      window_.axes.emplace_back();
      window_.axes.back().weights = numbers(vector);
    }
    window_.whole = numbers(whole);
    int axis = 0;
    if (!prepare(plan.grid(), window_, axis)) {
      throw py::value_error("window: the weights of some positions on axis " +
                            std::to_string(axis) +
                            " sum to zero; a mean takes weights that do not");
    }
    for (int i = 0; i < plan.rank(); ++i) {
      keep_axis_[i] =
          !window_.whole.empty() || !window_.axes[static_cast<std::size_t>(i)].weights.empty();
    }
  }

  void run(const Extents& shape, const Extents& strides, Dtype dtype, std::int64_t item,
           const void* fragments, bool channels_last, const char* fill, void* out,
           int threads) const {
    const std::int64_t batch = shape[0];
    const std::int64_t channels =
        shape[channels_last ? static_cast<std::size_t>(plan_.rank()) + 2 : 2];
    const Extents target = plan_.data_shape(batch, channels, channels_last);
    Extents target_strides{};
    contiguous_strides(target.data(), plan_.rank() + 2, item, target_strides.data());
    const GridLayout layout = make_layout(plan_.grid(), channels_last, item, batch, channels,
                                          target_strides.data(), strides.data(), keep_axis_);
    bool weighted = true;
    {
      const py::gil_scoped_release nogil;
      weighted = merge(layout, plan_.grid(), window_, dtype, fragments, out, fill, threads);
    }
    if (!weighted) {
      throw py::value_error(
          "window: the weights of some positions sum to zero; a mean takes weights that do not");
    }
  }

  const GridPlan& plan() const { return plan_; }

 private:
  static std::vector<double> numbers(const py::handle& values) {
    if (values.is_none()) return {};
    const auto array =
        py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(values);
    if (!array) throw py::error_already_set();
    return {array.data(), array.data() + array.size()};
  }

  GridPlan plan_;
  MergeWindow window_;
  bool keep_axis_[kMaxAxes] = {};
};

py::array merge_array(const WindowPlan& window, const py::array& fragments, int dtype,
                      bool channels_last, const py::bytes& fill, py::object& out, int threads) {
  const int rank = window.plan().rank() + 3;
  Extents shape{};
  Extents strides{};
  for (int axis = 0; axis < rank; ++axis) {
    shape[static_cast<std::size_t>(axis)] = fragments.shape(axis);
    strides[static_cast<std::size_t>(axis)] = fragments.strides(axis);
  }
  const std::int64_t channels = shape[static_cast<std::size_t>(channels_last ? rank - 1 : 2)];
  py::array result =
      out.is_none()
          ? new_array(fragments.dtype(),
                      window.plan().data_shape(shape[0], channels, channels_last), rank - 1)
          : py::reinterpret_borrow<py::array>(out);
  window.run(shape, strides, static_cast<Dtype>(dtype), fragments.itemsize(), fragments.data(),
             channels_last, bytes_of(fill),
             const_cast<void*>(static_cast<const void*>(result.data())), threads);
  return result;
}

void merge_at(const WindowPlan& window, std::uintptr_t address, const py::tuple& shape,
              const py::tuple& strides, int dtype, std::int64_t item, bool channels_last,
              const py::bytes& fill, std::uintptr_t out, int threads) {
  window.run(extents(shape), extents(strides, item), static_cast<Dtype>(dtype), item,
             reinterpret_cast<const void*>(address), channels_last, bytes_of(fill),
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

  py::class_<GridPlan>(fragments, "GridPlan", "A grid's arithmetic, ready for the kernels.")
      .def(py::init<const std::vector<std::int64_t>&, const std::vector<std::int64_t>&,
                    const std::vector<std::int64_t>&, const std::vector<std::int64_t>&, int, int>(),
           py::arg("shape"), py::arg("size"), py::arg("stride"), py::arg("dilation"),
           py::arg("edge"), py::arg("pad_mode"))
      .def("extract", &extract_array, py::arg("x"), py::arg("channels_last"), py::arg("pad"),
           py::arg("out"), py::arg("threads"), "Cuts a NumPy array.")
      .def("extract_at", &extract_at, py::arg("address"), py::arg("shape"), py::arg("strides"),
           py::arg("item"), py::arg("channels_last"), py::arg("pad"), py::arg("out"),
           py::arg("threads"), "Cuts the array at an address; strides in items.");

  py::class_<WindowPlan>(fragments, "WindowPlan", "A merge's weights on a grid.")
      .def(py::init<const GridPlan&, int, const py::list&, const py::object&, bool>(),
           py::arg("plan"), py::arg("reduce"), py::arg("vectors"), py::arg("whole"),
           py::arg("per_fragment"))
      .def("merge", &merge_array, py::arg("fragments"), py::arg("dtype"), py::arg("channels_last"),
           py::arg("fill"), py::arg("out"), py::arg("threads"), "Merges a NumPy array.")
      .def("merge_at", &merge_at, py::arg("address"), py::arg("shape"), py::arg("strides"),
           py::arg("dtype"), py::arg("item"), py::arg("channels_last"), py::arg("fill"),
           py::arg("out"), py::arg("threads"),
           "Merges the fragments at an address; strides in items.");
}

}  // namespace tokfrag
