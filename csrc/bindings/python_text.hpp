// The text of a Python object, read where it lies.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "tokens/text/text.hpp"

namespace tokfrag {

// The text of a str or bytes, in place: valid while the object lives. Python strings are read by
// their code units, because asking them for UTF-8 would leave a copy cached in each; where somebody
// has asked before, the copy is there to be used.
inline Text text_of(pybind11::handle object) {
  PyObject* const raw = object.ptr();
  if (PyUnicode_Check(raw)) {
#if !defined(PYPY_VERSION) && !defined(Py_GIL_DISABLED)
    const auto* compact = reinterpret_cast<const PyCompactUnicodeObject*>(raw);
    if (!PyUnicode_IS_ASCII(raw) && compact->utf8 != nullptr) {
      return {compact->utf8, compact->utf8_length, 0};
    }
#endif
    const int unit = PyUnicode_IS_ASCII(raw) ? 0 : static_cast<int>(PyUnicode_KIND(raw));
    return {PyUnicode_DATA(raw), PyUnicode_GET_LENGTH(raw), unit};
  }
  if (PyBytes_Check(raw)) return {PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw), 0};
  throw pybind11::type_error(
      "text: expected str or bytes, got " +
      std::string(pybind11::str(pybind11::type::of(object).attr("__name__"))));
}

}  // namespace tokfrag
