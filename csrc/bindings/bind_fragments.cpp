#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/fragment_plans.hpp"
#include "core/buffer_pool.hpp"
#include "core/checked.hpp"
#include "fragments/extract/extract.hpp"
#include "fragments/merge/adjoint.hpp"
#include "fragments/merge/small_merge.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

// From here on a fresh output is worth huge pages and cache-line alignment.
constexpr std::int64_t kHugeOutputBytes = std::int64_t{1} << 20;

// A fresh C-contiguous array; when large, on huge pages and on memory of earlier outputs.
py::array new_array(const py::dtype& type, const Extents& shape, int rank) {
  std::int64_t bytes = type.itemsize();
  for (int axis = 0; axis < rank; ++axis) {
    bytes = checked_multiply(bytes, shape[static_cast<std::size_t>(axis)]);
  }
  if (bytes < kHugeOutputBytes) {
    // As py::array would, but without vectors: that is a tenth of a small call's time.
    auto& api = py::detail::npy_api::get();
    py::ssize_t sizes[kMaxArrayAxes];
    std::copy(shape.begin(), shape.begin() + rank, sizes);
    PyObject* made = api.PyArray_NewFromDescr_(api.PyArray_Type_, py::dtype(type).release().ptr(),
                                               rank, reinterpret_cast<const Py_intptr_t*>(sizes),
                                               nullptr, nullptr, 0, nullptr);
    if (made == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::array>(made);
  }
  const std::vector<py::ssize_t> sizes(shape.begin(), shape.begin() + rank);
  auto buffer = std::make_unique<HugeBuffer>(take_buffer(bytes));
  void* address = buffer->data();
  const py::capsule owner(buffer.release(), [](void* held) {
    const std::unique_ptr<HugeBuffer> block(static_cast<HugeBuffer*>(held));
    give_buffer(std::move(*block));
  });
  return py::array(type, sizes, address, owner);
}

void run_extract(const GridPlan& plan, const Extents& shape, const Extents& strides,
                 std::int64_t item, const void* data, bool channels_last, const char* pad,
                 void* out, int threads) {
  const std::int64_t batch = shape[0];
  const std::int64_t channels =
      shape[channels_last ? static_cast<std::size_t>(plan.rank()) + 1 : 1];
  const Extents target = plan.fragment_strides(batch, channels, channels_last, item);
  const GridLayout layout = make_layout(plan.grid(), channels_last, item, batch, channels,
                                        strides.data(), target.data(), nullptr);
  const ReleaseGil nogil;
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

class WindowPlan : public WindowWeights {
 public:
  using WindowWeights::WindowWeights;

  void run(const Extents& shape, const Extents& strides, Dtype dtype, std::int64_t item,
           const void* fragments, bool channels_last, const char* fill, void* out,
           int threads) const {
    const SmallCall call{shape, strides, dtype, channels_last};
    const bool again = call == small_call_;
    if (again && small_ != nullptr) {
      small_->run(fragments, out, fill);  // no longer than it takes to let the GIL go
      return;
    }
    const std::int64_t batch = shape[0];
    const std::int64_t channels =
        shape[channels_last ? static_cast<std::size_t>(plan_.rank()) + 2 : 2];
    const Extents target = plan_.data_strides(batch, channels, channels_last, item);
    const GridLayout layout = make_layout(plan_.grid(), channels_last, item, batch, channels,
                                          target.data(), strides.data(), keep_axis_);
    if (!again) {
      small_call_ = call;
      small_.reset();
      small_asked_ = false;
    } else if (!small_asked_) {
      small_ = SmallMerge::make(layout, plan_.grid(), window_, dtype);
      small_asked_ = true;
      if (small_ != nullptr) return small_->run(fragments, out, fill);
    }
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
  struct SmallCall {
    Extents shape{};
    Extents strides{};
    Dtype dtype{};
    bool channels_last = false;

    bool operator==(const SmallCall& other) const {
      return shape == other.shape && strides == other.strides && dtype == other.dtype &&
             channels_last == other.channels_last;
    }
  };

  // The last call, and what a second one like it makes of it if it is small. Under the GIL alone.
  mutable SmallCall small_call_;
  mutable bool small_asked_ = false;
  mutable std::unique_ptr<const SmallMerge> small_;
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

  py::class_<GridPlan>(fragments, "GridPlan", py::module_local(),
                       "A grid's arithmetic, ready for the kernels.")
      .def(py::init<const std::vector<std::int64_t>&, const std::vector<std::int64_t>&,
                    const std::vector<std::int64_t>&, const std::vector<std::int64_t>&, int, int>(),
           py::arg("shape"), py::arg("size"), py::arg("stride"), py::arg("dilation"),
           py::arg("edge"), py::arg("pad_mode"))
      .def("extract", &extract_array, py::arg("x"), py::arg("channels_last"), py::arg("pad"),
           py::arg("out"), py::arg("threads"), "Cuts a NumPy array.")
      .def("extract_at", &extract_at, py::arg("address"), py::arg("shape"), py::arg("strides"),
           py::arg("item"), py::arg("channels_last"), py::arg("pad"), py::arg("out"),
           py::arg("threads"), "Cuts the array at an address; strides in items.");

  py::class_<WindowPlan>(fragments, "WindowPlan", py::module_local(),
                         "A merge's weights on a grid.")
      .def(py::init<const GridPlan&, int, const py::list&, const py::object&, bool>(),
           py::arg("plan"), py::arg("reduce"), py::arg("vectors"), py::arg("whole"),
           py::arg("per_fragment"))
      .def("part", &part_of<WindowPlan>, py::arg("first"), py::arg("counts"), py::arg("begin"),
           "The weights of some windows, for merging the positions that no others hold.")
      .def("merge", &merge_array, py::arg("fragments"), py::arg("dtype"), py::arg("channels_last"),
           py::arg("fill"), py::arg("out"), py::arg("threads"), "Merges a NumPy array.")
      .def("merge_at", &merge_at, py::arg("address"), py::arg("shape"), py::arg("strides"),
           py::arg("dtype"), py::arg("item"), py::arg("channels_last"), py::arg("fill"),
           py::arg("out"), py::arg("threads"),
           "Merges the fragments at an address; strides in items.")
      .def("extract", &extract_weighted_array, py::arg("x"), py::arg("dtype"),
           py::arg("channels_last"), py::arg("threads"),
           "The adjoint of merge: cuts a NumPy array, times the weights.")
      .def("extract_at", &extract_weighted_at, py::arg("address"), py::arg("shape"),
           py::arg("strides"), py::arg("dtype"), py::arg("item"), py::arg("channels_last"),
           py::arg("out"), py::arg("threads"),
           "The same for the array at an address; strides in items.");
}

}  // namespace tokfrag
