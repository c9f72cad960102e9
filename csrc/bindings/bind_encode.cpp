#include "bindings/bind_encode.hpp"

#include <utility>

#include "bindings/arrays.hpp"
#include "bindings/held_texts.hpp"
#include "bindings/plain_method.hpp"
#include "bindings/release_gil.hpp"
#include "bindings/token_arrays.hpp"

namespace py = pybind11;

namespace tokfrag {

py::array_t<std::uint32_t> encode(const Model& model, py::handle object, AllowedSpecial allowed,
                                  std::int64_t limit) {
  const Text text = text_met(object);
  constexpr std::int64_t kBrief = 256;  // encoded in less time than the GIL takes to change hands
  if (text.length < kBrief) {
    const WorkerPool::Lease worker = model.encoder().workers().acquire();
    worker->ids.clear();
    model.encode(to_utf8(text, &worker->text), allowed, *worker, &worker->ids, limit);
    return copy_of(worker->ids);
  }
  TokenBuffer ids;
  {
    const ReleaseGil nogil;
    if (limit == INT64_MAX && utf8_bound(text) >= Model::kLong) {
      Utf8Scratch scratch;
      ids = model.encode_long(to_utf8(text, &scratch), allowed, 0);
    } else {
      const WorkerPool::Lease worker = model.encoder().workers().acquire();
      model.encode(to_utf8(text, &worker->text), allowed, *worker, &ids, limit);
    }
  }
  return array_of(std::move(ids));
}

namespace {

PyObject* call_encode(PyObject* capsule, PyObject* const* arguments, Py_ssize_t count) {
  return translated([&]() -> PyObject* {
    if (count < 1 || count > 3) {
      PyErr_Format(PyExc_TypeError, "encode: takes text, allowed and limit, got %zd arguments",
                   count);
      return nullptr;
    }
    const auto& model = *static_cast<const Model*>(PyCapsule_GetPointer(capsule, nullptr));
    const auto argument = [&](int i) {
      return py::reinterpret_borrow<py::object>(count > i ? arguments[i] : Py_None);
    };
    const AllowedSpecial allowed = count > 1 ? allowed_of(model, argument(1)) : AllowedSpecial{};
    const std::int64_t limit = count > 2 ? integer_of(argument(2)) : INT64_MAX;
    return encode(model, arguments[0], allowed, limit).release().ptr();
  });
}

}  // namespace

py::object encode_function(const py::object& self) {
  static PyMethodDef method = {
      "encode", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call_encode)),
      METH_FASTCALL, "encode(text, allowed=None, limit=None): the ids of a text."};
  const py::capsule held(&self.cast<Model&>());
  // The capsule keeps the model it points to.
  if (PyCapsule_SetContext(held.ptr(), self.ptr()) != 0) throw py::error_already_set();
  self.inc_ref();
  if (PyCapsule_SetDestructor(held.ptr(), [](PyObject* capsule) {
        Py_XDECREF(static_cast<PyObject*>(PyCapsule_GetContext(capsule)));
      }) != 0) {
    throw py::error_already_set();
  }
  PyObject* const function = PyCFunction_New(&method, held.ptr());
  if (function == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(function);
}

}  // namespace tokfrag
