#include <pybind11/numpy.h>

#include <vector>

#include "bindings/bindings.hpp"
#include "tokens/byte_pair/merge_list.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

// The code units of a str, in place: valid while it lives.
Text units_of(PyObject* text) {
  return {PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text), static_cast<int>(PyUnicode_KIND(text))};
}

// Cuts "a b" in two; false where it has no space, or several.
bool split(PyObject* text, std::vector<Text>* left, std::vector<Text>* right) {
  const Text whole = units_of(text);
  const py::ssize_t at = PyUnicode_FindChar(text, ' ', 0, whole.length, 1);
  if (at < 0 || PyUnicode_FindChar(text, ' ', at + 1, whole.length, 1) >= 0) return false;
  left->push_back({whole.data, at, whole.unit});
  const auto* bytes = static_cast<const std::uint8_t*>(whole.data);
  right->push_back({bytes + (at + 1) * whole.unit, whole.length - at - 1, whole.unit});
  return true;
}

// The two strings of a list, held.
bool take_two(PyObject* list, std::vector<Text>* left, std::vector<Text>* right,
              std::vector<py::object>* held) {
  if (PyList_GET_SIZE(list) != 2) return false;
  PyObject* const first = PyList_GET_ITEM(list, 0);
  PyObject* const second = PyList_GET_ITEM(list, 1);
  if (!PyUnicode_CheckExact(first) || !PyUnicode_CheckExact(second)) return false;
  left->push_back(units_of(first));
  right->push_back(units_of(second));
  held->push_back(py::reinterpret_borrow<py::object>(first));
  held->push_back(py::reinterpret_borrow<py::object>(second));
  return true;
}

// The places in `tokens` that each merge names, and the first merge that is none (-1: all are).
py::tuple merge_places(const py::list& tokens, const py::list& merges) {
  const py::tuple held(tokens);  // whatever happens to the list while the GIL is away
  std::vector<Text> known;
  known.reserve(held.size());
  for (const py::handle token : held) {
    if (!PyUnicode_Check(token.ptr())) throw py::type_error("tokens: takes str");
    known.push_back(units_of(token.ptr()));
  }
  std::vector<py::object> parts;
  std::vector<Text> left;
  std::vector<Text> right;
  left.reserve(merges.size());
  right.reserve(merges.size());
  std::int64_t fault = -1;
  const bool spaced = merges.size() != 0 && PyUnicode_CheckExact(merges[0].ptr()) != 0;
  for (std::size_t i = 0; i < merges.size() && fault < 0; ++i) {
    const py::object held_merge = merges[i];
    PyObject* const merge = held_merge.ptr();
    const bool good = spaced ? PyUnicode_CheckExact(merge) && split(merge, &left, &right)
                             : PyList_CheckExact(merge) && take_two(merge, &left, &right, &parts);
    if (spaced) parts.push_back(held_merge);
    if (!good) fault = static_cast<std::int64_t>(i);
  }
  py::array_t<std::int64_t> pairs({static_cast<py::ssize_t>(left.size()), py::ssize_t{2}});
  std::int64_t* const place = pairs.mutable_data();
  std::int64_t unknown = -1;
  {
    const ReleaseGil nogil;
    unknown = find_merges(known, left, right, place);
  }
  return py::make_tuple(pairs, unknown >= 0 ? unknown : fault);
}

}  // namespace

void bind_formats(py::module_& module) {
  py::module_ formats = module.def_submodule("formats");
  formats.def("merge_places", &merge_places, py::arg("tokens"), py::arg("merges"));
}

}  // namespace tokfrag
