// What live texts are kept by: tokfrag._core.live. All is so brief that the GIL is kept.
#include <algorithm>
#include <string>
#include <vector>

#include "bindings/bindings.hpp"
#include "tokens/live/part_index.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

using Unit = PartIndex::Unit;

std::vector<PartIndex::Extent> extents_of(const py::list& lengths, const py::list& counts) {
  if (lengths.size() != counts.size()) {
    throw py::value_error("counts: got " + std::to_string(counts.size()) +
                          ", takes one of each of " + std::to_string(lengths.size()) + " parts");
  }
  std::vector<PartIndex::Extent> parts(lengths.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    parts[i] = {lengths[i].cast<std::int64_t>(), counts[i].cast<std::int64_t>()};
    if (parts[i].characters < 0 || parts[i].tokens < 0) {
      throw py::value_error("lengths, counts: take 0 or more");
    }
  }
  return parts;
}

// Of the parts that stand for an edit: first, end, and where these are in characters and tokens.
py::tuple around(const PartIndex& index, std::int64_t start, std::int64_t stop,
                 std::int64_t margin) {
  if (margin < 0 || start < 0 || start > stop || stop > index.total().characters) {
    throw py::index_error("start, stop: got " + std::to_string(start) + ", " +
                          std::to_string(stop) + ", take a range of " +
                          std::to_string(index.total().characters) + " characters");
  }
  const PartIndex::Boundary left =
      start > margin ? index.last_at(start - margin, Unit::kCharacters) : index.boundary(0);
  const std::int64_t beyond = std::max<std::int64_t>(stop + margin - 1, 0);
  const std::int64_t end = index.last_at(beyond, Unit::kCharacters).parts + 1;
  const PartIndex::Boundary right = index.boundary(std::min(end, index.size()));
  return py::make_tuple(left.parts, right.parts, left.before.characters, right.before.characters,
                        left.before.tokens);
}

py::tuple boundary(const PartIndex& index, std::int64_t parts) {
  if (parts < 0 || parts > index.size()) {
    throw py::index_error("parts: got " + std::to_string(parts) + ", takes 0 to " +
                          std::to_string(index.size()));
  }
  const PartIndex::Extent before = index.boundary(parts).before;
  return py::make_tuple(before.characters, before.tokens);
}

void replace(PartIndex& index, std::int64_t first, std::int64_t end, const py::list& lengths,
             const py::list& counts) {
  // Before the check: numbers may be objects whose methods change the index.
  const std::vector<PartIndex::Extent> parts = extents_of(lengths, counts);
  if (first < 0 || first > end || end > index.size()) {
    throw py::index_error("first, end: got " + std::to_string(first) + ", " + std::to_string(end) +
                          ", take a range of " + std::to_string(index.size()) + " parts");
  }
  index.replace(first, end, parts);
}

// Bytes are aligned as objects are, ids among them too.
py::tuple common(const py::bytes& before, const py::bytes& after) {
  const auto ids_of = [](const py::bytes& bytes) {
    return reinterpret_cast<const std::uint32_t*>(PyBytes_AS_STRING(bytes.ptr()));
  };
  const auto count_of = [](const py::bytes& bytes) {
    return static_cast<std::int64_t>(PyBytes_GET_SIZE(bytes.ptr())) / 4;
  };
  const auto [first, last] =
      common_ids(ids_of(before), count_of(before), ids_of(after), count_of(after));
  return py::make_tuple(first, last);
}

}  // namespace

void bind_live(py::module_& module) {
  py::module_ live = module.def_submodule("live");
  py::class_<PartIndex>(live, "PartIndex")
      .def(py::init([](const py::list& lengths, const py::list& counts) {
             return PartIndex(extents_of(lengths, counts));
           }),
           py::arg("lengths"), py::arg("counts"))
      .def("__len__", &PartIndex::size)
      .def_property_readonly("characters",
                             [](const PartIndex& index) { return index.total().characters; })
      .def_property_readonly("tokens", [](const PartIndex& index) { return index.total().tokens; })
      .def("copy", [](const PartIndex& index) { return PartIndex(index); })
      .def("around", &around, py::arg("start"), py::arg("stop"), py::arg("margin"))
      .def("boundary", &boundary, py::arg("parts"))
      .def(
          "last_at_character",
          [](const PartIndex& index, std::int64_t position) {
            return index.last_at(position, Unit::kCharacters).parts;
          },
          py::arg("position"))
      .def(
          "last_at_token",
          [](const PartIndex& index, std::int64_t position) {
            return index.last_at(position, Unit::kTokens).parts;
          },
          py::arg("position"))
      .def("replace", &replace, py::arg("first"), py::arg("end"), py::arg("lengths"),
           py::arg("counts"));
  live.def("common_ids", &common, py::arg("before"), py::arg("after"));
}

}  // namespace tokfrag
