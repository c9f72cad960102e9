// Methods of plain CPython on classes that pybind11 made, for calls that small arrays repeat:
// dispatch by pybind11 would take longer than such a call's work.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <new>
#include <stdexcept>

#include "bindings/arrays.hpp"

namespace tokfrag {

// What `work` returns; null, with the Python exception set, for what it throws.
template <class Work>
PyObject* translated(const Work& work) {
  try {
    return work();
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (const pybind11::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::overflow_error& error) {
    PyErr_SetString(PyExc_OverflowError, error.what());
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// The arguments of one call, by position.
class PlainArguments {
 public:
  PlainArguments(PyObject* const* values, Py_ssize_t count) : values_(values), count_(count) {}

  void expect(Py_ssize_t count, const char* method) const {
    if (count == count_) return;
    PyErr_Format(PyExc_TypeError, "%s: got %zd arguments, takes %zd", method, count_, count);
    throw pybind11::error_already_set();
  }

  pybind11::handle operator[](int i) const { return values_[i]; }
  bool is_none(int i) const { return values_[i] == Py_None; }

  std::int64_t integer(int i) const {
    const std::int64_t value = PyLong_AsLongLong(values_[i]);
    if (value == -1 && PyErr_Occurred() != nullptr) throw pybind11::error_already_set();
    return value;
  }

  void* address(int i) const {
    void* value = PyLong_AsVoidPtr(values_[i]);
    if (value == nullptr && PyErr_Occurred() != nullptr) throw pybind11::error_already_set();
    return value;
  }

  bool flag(int i) const {
    const int value = PyObject_IsTrue(values_[i]);
    if (value < 0) throw pybind11::error_already_set();
    return value != 0;
  }

  const char* bytes(int i) const {
    const char* value = PyBytes_AsString(values_[i]);
    if (value == nullptr) throw pybind11::error_already_set();
    return value;
  }

 private:
  PyObject* const* values_;
  Py_ssize_t count_;
};

// A METH_FASTCALL method of a class: `Function(const Class&, const PlainArguments&)` makes what it
// returns. CPython has checked that `self` is of the class; what was never initialised is refused.
template <class Class, PyObject* (*Function)(const Class&, const PlainArguments&)>
PyObject* call_plain_method(PyObject* self, PyObject* const* values, Py_ssize_t count) {
  return translated([&] {
    auto* held = reinterpret_cast<pybind11::detail::instance*>(self);
    const auto* object = held->get_value_and_holder().value_ptr<Class>();
    if (object == nullptr)
      throw pybind11::type_error("self: got an object that was not initialised");
    return Function(*object, PlainArguments(values, count));
  });
}

// Adds it to the class; `method` has to outlive it.
template <class Class, PyObject* (*Function)(const Class&, const PlainArguments&)>
void add_plain_method(pybind11::handle type, PyMethodDef& method) {
  const auto call = &call_plain_method<Class, Function>;
  method.ml_meth = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call));
  method.ml_flags = METH_FASTCALL;
  const auto made = pybind11::reinterpret_steal<pybind11::object>(
      PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), &method));
  if (!made) throw pybind11::error_already_set();
  type.attr(method.ml_name) = made;
}

}  // namespace tokfrag
