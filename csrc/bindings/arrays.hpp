// NumPy arrays as the kernels read them, and integers however large.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>

namespace tokfrag {

// C-contiguous and aligned for its type: a copy where the caller's array is not.
constexpr int kPlainLayout =
    pybind11::array::c_style | pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_;

template <class T>
using Array = pybind11::array_t<T, kPlainLayout>;

// The same of numbers of any type, which are cast.
template <class T>
using CastArray = pybind11::array_t<T, kPlainLayout | pybind11::array::forcecast>;

// Any integer of Python's or NumPy's, the nearest where it does not fit.
inline std::int64_t integer_of(const pybind11::object& number) {
  const auto index = pybind11::reinterpret_steal<pybind11::object>(PyNumber_Index(number.ptr()));
  if (!index) throw pybind11::error_already_set();
  int overflow = 0;
  const std::int64_t value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  return overflow == 0 ? value : overflow > 0 ? INT64_MAX : INT64_MIN;
}

}  // namespace tokfrag
