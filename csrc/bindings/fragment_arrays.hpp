// NumPy arrays as fragments and data: their shapes and strides, and results, fresh or given.
#pragma once

#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bindings/fragment_plans.hpp"
#include "core/buffer_pool.hpp"
#include "core/checked.hpp"

namespace tokfrag {

// From here on a fresh output is worth huge pages and cache-line alignment.
constexpr std::int64_t kHugeOutputBytes = std::int64_t{1} << 20;

// A fresh C-contiguous array; when large, on huge pages and on memory of earlier outputs.
inline pybind11::array new_array(const pybind11::dtype& type, const Extents& shape, int rank) {
  namespace py = pybind11;
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

// An array that is read: all a call needs of it, looked up once.
struct ReadArray {
  const pybind11::detail::PyArray_Proxy* held;
  int rank;
  Extents shape{};
  Extents strides{};  // bytes
  std::int64_t item;

  explicit ReadArray(pybind11::handle array)
      : held(pybind11::detail::array_proxy(array.ptr())), rank(held->nd) {
    if (rank > kMaxArrayAxes) throw std::invalid_argument("too many axes");
    std::copy(held->dimensions, held->dimensions + rank, shape.begin());
    std::copy(held->strides, held->strides + rank, strides.begin());
    item = type().itemsize();
  }

  pybind11::dtype type() const {
    return pybind11::reinterpret_borrow<pybind11::dtype>(held->descr);
  }
};

inline bool is_array(pybind11::handle object) {
  return pybind11::detail::npy_api::get().PyArray_Check_(object.ptr());
}

// Whether `out` takes a result of this shape made of `x`: an array of its type, writable,
// C-contiguous, aligned and apart from it. `_arrays.check_out` says what is wrong where it does
// not.
inline bool takes_result(pybind11::handle out, const ReadArray& x, const Extents& shape, int rank) {
  using Api = pybind11::detail::npy_api;
  if (!is_array(out)) return false;
  const auto* held = pybind11::detail::array_proxy(out.ptr());
  constexpr int kPlain =
      Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_ | Api::NPY_ARRAY_WRITEABLE_;
  if ((held->flags & kPlain) != kPlain || held->nd != rank) return false;
  if (!std::equal(shape.begin(), shape.begin() + rank, held->dimensions)) return false;
  if (held->descr != x.held->descr && !Api::get().PyArray_EquivTypes_(held->descr, x.held->descr)) {
    return false;
  }
  std::int64_t bytes = x.item;
  for (int axis = 0; axis < rank; ++axis) bytes *= shape[static_cast<std::size_t>(axis)];
  std::int64_t before = 0;
  std::int64_t beyond = x.item;
  for (int axis = 0; axis < x.rank; ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    if (x.shape[at] == 0) return true;
    const std::int64_t reach = (x.shape[at] - 1) * x.strides[at];
    (reach < 0 ? before : beyond) += reach;
  }
  const std::less<const char*> lies_before;
  return bytes == 0 || !lies_before(held->data, x.held->data + beyond) ||
         !lies_before(x.held->data + before, held->data + bytes);
}

}  // namespace tokfrag
