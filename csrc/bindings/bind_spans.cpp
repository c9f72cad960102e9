#include <pybind11/numpy.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/held_texts.hpp"
#include "core/checked.hpp"
#include "core/huge_buffer.hpp"
#include "core/interrupt.hpp"
#include "tokens/byte_pair/model.hpp"
#include "tokens/byte_pair/token_extents.hpp"
#include "tokens/text/character_spans.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

py::array_t<std::int64_t> fresh_spans(py::ssize_t count) {
  const std::int64_t bytes = checked_multiply(count, 2 * std::int64_t{sizeof(std::int64_t)});
  py::array_t<std::int64_t> spans({count, py::ssize_t{2}});
  advise_huge_pages(spans.mutable_data(), bytes);
  return spans;
}

// The spans of ids that stand for a text, or, with `rows`, for many texts end to end.
py::array_t<std::int64_t> spans_of(const TokenExtents& extents, const Array<std::uint32_t>& ids,
                                   const py::object& rows, bool characters, int threads) {
  const auto unit = characters ? TokenExtents::Unit::kCharacters : TokenExtents::Unit::kBytes;
  py::array_t<std::int64_t> spans = fresh_spans(ids.size());
  std::int64_t* const place = spans.mutable_data();
  const std::uint32_t* const data = ids.data();
  const std::int64_t count = ids.size();
  bool sound = false;
  if (rows.is_none()) {
    const ReleaseGil nogil;
    sound = extents.write(data, count, unit, threads, place);
  } else {
    const auto bounds = rows.cast<Array<std::int64_t>>();
    if (bounds.size() < 1) throw py::value_error("rows: takes a place more than there are rows");
    const std::int64_t* const begins = bounds.data();
    const std::int64_t texts = bounds.size() - 1;
    const ReleaseGil nogil;
    sound = extents.write_rows(data, count, begins, texts, unit, threads, place);
  }
  if (!sound) throw py::value_error("ids: one is unknown, or rows do not rise from 0 to their end");
  return spans;
}

py::array_t<std::int64_t> in_characters(const py::object& object,
                                        const Array<std::int64_t>& spans) {
  if (spans.ndim() != 2 || spans.shape(1) != 2) {
    throw py::value_error("spans: takes a begin and an end a row");
  }
  const Text text = text_of(object);
  py::array_t<std::int64_t> converted = fresh_spans(spans.shape(0));
  const std::int64_t* const given = spans.data();
  std::int64_t* const place = converted.mutable_data();
  const std::int64_t count = spans.shape(0);
  {
    const ReleaseGil nogil;
    constexpr std::int64_t kBlock = 64;
    constexpr std::int64_t kAtOnce = 1 << 14;  // blocks, and spans, between two polls
    Utf8Scratch scratch;
    const Utf8 utf8 = to_utf8(text, &scratch);
    const std::int64_t blocks = utf8.size / kBlock + 1;
    std::vector<LeadBlock> described(static_cast<std::size_t>(blocks));
    const CharacterSpans& kernels = character_spans();
    for (std::int64_t from = 0; from < blocks; from += kAtOnce) {
      kernels.describe(utf8.data, utf8.size, from, std::min(from + kAtOnce, blocks),
                       described.data());
      poll_interrupt();
    }
    for (std::int64_t from = 0; from < count; from += kAtOnce) {
      if (!kernels.convert(described.data(), utf8.size, given + 2 * from,
                           std::min(kAtOnce, count - from), place + 2 * from)) {
        throw std::invalid_argument("spans: take places in the text's UTF-8");
      }
      poll_interrupt();
    }
  }
  return converted;
}

}  // namespace

void bind_spans(py::module_& module) {
  py::module_ spans = module.def_submodule("spans");
  py::class_<TokenExtents>(spans, "TokenExtents")
      .def(py::init([](const Model& model) { return TokenExtents(model.decoder()); }),
           py::arg("model"))
      .def("spans", &spans_of, py::arg("ids"), py::arg("rows").none(true), py::arg("characters"),
           py::arg("threads"));
  spans.def("in_characters", &in_characters, py::arg("text"), py::arg("spans"));
}

}  // namespace tokfrag
