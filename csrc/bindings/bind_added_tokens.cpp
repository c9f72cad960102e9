// Finding added tokens in texts: tokfrag._core.added_tokens. Python has checked every argument.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/held_texts.hpp"
#include "tokens/text/special_tokens.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

std::unique_ptr<SpecialTokens> make_finder(const std::vector<py::bytes>& contents) {
  std::vector<SpecialTokens::Token> tokens;
  tokens.reserve(contents.size());
  for (const py::bytes& content : contents) tokens.push_back({content, 0});
  const ReleaseGil nogil;
  return std::make_unique<SpecialTokens>(std::move(tokens));
}

// A byte a token: whether to look for it. Empty: look for all.
const std::uint8_t* wanted_of(const py::bytes& flags) {
  if (PyBytes_GET_SIZE(flags.ptr()) == 0) return nullptr;
  return reinterpret_cast<const std::uint8_t*>(PyBytes_AS_STRING(flags.ptr()));
}

// The index of the first of them in the text, or -1.
std::int64_t first(const SpecialTokens& finder, const py::object& object, const py::bytes& flags) {
  constexpr std::int64_t kBrief = 1024;  // read in less time than the GIL takes to change hands
  const Text text = text_of(object);
  const std::uint8_t* const wanted = wanted_of(flags);
  const auto find = [&] {
    Utf8Scratch scratch;
    const Utf8 utf8 = to_utf8(text, &scratch);
    return finder.find(utf8.data, utf8.size, 0, wanted).token;
  };
  if (text.length < kBrief) return find();
  const ReleaseGil nogil;
  return find();
}

// (n, 3): where each begins and ends, and which it is.
py::array_t<std::int64_t> all(const SpecialTokens& finder, const py::bytes& text,
                              const py::bytes& flags) {
  const auto view = static_cast<std::string_view>(text);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(view.data());
  const auto size = static_cast<std::int64_t>(view.size());
  const std::uint8_t* const wanted = wanted_of(flags);
  std::vector<std::int64_t> places;
  {
    const ReleaseGil nogil;
    auto match = finder.find(bytes, size, 0, wanted);
    while (match.token >= 0) {
      places.insert(places.end(), {match.begin, match.end, match.token});
      match = finder.find(bytes, size, match.end, wanted);
    }
  }
  py::array_t<std::int64_t> rows({static_cast<py::ssize_t>(places.size() / 3), py::ssize_t{3}});
  std::copy(places.begin(), places.end(), rows.mutable_data());
  return rows;
}

}  // namespace

void bind_added_tokens(py::module_& module) {
  py::module_ added = module.def_submodule("added_tokens");
  py::class_<SpecialTokens>(added, "Finder")
      .def(py::init(&make_finder), py::arg("contents"))
      .def("first", &first, py::arg("text"), py::arg("wanted"))
      .def("all", &all, py::arg("text"), py::arg("wanted"));
}

}  // namespace tokfrag
