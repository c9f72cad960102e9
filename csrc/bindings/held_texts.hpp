// The texts of a Python list as UTF-8, without keeping a second copy of them.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <string>
#include <vector>

#include "tokens/text/text_view.hpp"

namespace tokfrag {

// The bytes of a str or bytes object, in UTF-8. `held` keeps them alive; a str that is not ASCII is
// encoded into a temporary, not into the cache that the object itself would keep.
inline TextView view_text(pybind11::handle text, std::size_t index,
                          std::vector<pybind11::object>& held) {
  const auto fail = [&](const std::string& why) {
    return "texts: item " + std::to_string(index) + " " + why;
  };
  pybind11::object bytes = pybind11::reinterpret_borrow<pybind11::object>(text);
  if (PyUnicode_Check(text.ptr())) {
    if (PyUnicode_IS_ASCII(text.ptr())) {
      held.push_back(bytes);
      return {static_cast<const std::uint8_t*>(PyUnicode_DATA(text.ptr())),
              PyUnicode_GET_LENGTH(text.ptr())};
    }
    bytes = pybind11::reinterpret_steal<pybind11::object>(PyUnicode_AsUTF8String(text.ptr()));
    if (!bytes) {
      // Out of memory is not the text's fault.
      if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError) == 0) {
        throw pybind11::error_already_set();
      }
      PyErr_Clear();
      throw pybind11::value_error(fail("holds a lone surrogate; takes text that has a UTF-8 form"));
    }
  } else if (!PyBytes_Check(text.ptr())) {
    throw pybind11::type_error(fail("is " +
                                    pybind11::repr(pybind11::type::of(text)).cast<std::string>() +
                                    "; takes str or bytes"));
  }
  held.push_back(bytes);
  return {reinterpret_cast<const std::uint8_t*>(PyBytes_AS_STRING(bytes.ptr())),
          PyBytes_GET_SIZE(bytes.ptr())};
}

inline std::vector<TextView> view_texts(const pybind11::list& texts, std::size_t first_index,
                                        std::vector<pybind11::object>& held) {
  std::vector<TextView> views;
  held.reserve(texts.size());
  views.reserve(texts.size());
  for (const pybind11::handle text : texts) {
    views.push_back(view_text(text, first_index + views.size(), held));
  }
  return views;
}

}  // namespace tokfrag
