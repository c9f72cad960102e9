// BERT's tokenizer: tokfrag._core.wordpiece. Python has checked every argument.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/held_texts.hpp"
#include "tokens/wordpiece/batch.hpp"
#include "tokens/wordpiece/wordpiece.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

using Ids = CastArray<std::uint32_t>;

std::vector<std::uint32_t> to_vector(const Ids& ids) {
  return {ids.data(), ids.data() + ids.size()};
}

std::unique_ptr<WordPiece> make_model(
    const std::vector<py::bytes>& tokens, const py::bytes& prefix, const Ids& units,
    const Ids& lists, const std::vector<std::pair<py::bytes, std::uint32_t>>& specials,
    std::uint32_t unknown, std::int64_t longest_word) {
  std::vector<std::string> spellings(tokens.begin(), tokens.end());
  std::vector<std::pair<std::string, std::uint32_t>> named;
  for (const auto& [text, id] : specials) named.emplace_back(text, id);
  const auto prefix_view = static_cast<std::string>(prefix);
  const std::uint32_t* unit = units.data();
  std::vector<std::uint32_t> list = to_vector(lists);
  const ReleaseGil nogil;
  return std::make_unique<WordPiece>(spellings, prefix_view, unit, std::move(list),
                                     std::move(named), WordPieceOptions{unknown, longest_word});
}

py::tuple encode_batch(const WordPiece& model, const py::list& texts, bool with_specials,
                       const Ids& before, const Ids& after, int threads) {
  HeldTexts held(texts);
  std::unique_ptr<WordPieceBatch> batch;
  {
    std::vector<std::uint32_t> first = to_vector(before);
    std::vector<std::uint32_t> last = to_vector(after);
    const ReleaseGil nogil;
    batch = std::make_unique<WordPieceBatch>(model, held.utf8(), with_specials, std::move(first),
                                             std::move(last), threads);
  }
  const std::vector<std::int64_t>& offsets = batch->offsets();
  py::array_t<std::uint32_t> ids(offsets.back());
  std::uint32_t* out = ids.mutable_data();
  {
    const ReleaseGil nogil;
    batch->gather(out);
  }
  return py::make_tuple(
      ids, py::array_t<std::int64_t>(static_cast<py::ssize_t>(offsets.size()), offsets.data()));
}

py::tuple encode_spans(const WordPiece& model, const py::object& text, bool with_specials) {
  HeldTexts held(text);
  std::vector<std::uint32_t> ids;
  std::vector<TokenSpan> spans;
  {
    const ReleaseGil nogil;
    const TextView view = held.utf8()[0];
    model.encode(view.data, view.size, with_specials, &ids, &spans);
  }
  py::array_t<std::int64_t> places({spans.size(), std::size_t{2}});
  std::int64_t* out = places.mutable_data();
  for (const TokenSpan& span : spans) {
    *out++ = span.begin;
    *out++ = span.end;
  }
  return py::make_tuple(
      py::array_t<std::uint32_t>(static_cast<py::ssize_t>(ids.size()), ids.data()), places);
}

}  // namespace

void bind_wordpiece(py::module_& module) {
  py::module_ wordpiece = module.def_submodule("wordpiece");
  py::class_<WordPiece>(wordpiece, "WordPiece")
      .def(py::init(&make_model), py::arg("tokens"), py::arg("prefix"), py::arg("units"),
           py::arg("lists"), py::arg("specials"), py::arg("unknown"), py::arg("longest_word"))
      .def("encode_batch", &encode_batch, py::arg("texts"), py::arg("with_specials"),
           py::arg("before"), py::arg("after"), py::arg("threads"))
      .def("encode_spans", &encode_spans, py::arg("text"), py::arg("with_specials"));
}

}  // namespace tokfrag
