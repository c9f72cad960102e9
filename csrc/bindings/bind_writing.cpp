// How texts are written before they are cut: tokfrag._core.writing. Python has checked every
// argument.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/held_texts.hpp"
#include "bindings/token_arrays.hpp"
#include "tokens/text/text_writer.hpp"
#include "tokens/text/unicode_form.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

// pybind11 holds no pointers to const; nothing can change a step.
std::shared_ptr<WritingStep> held(const StepPointer& step) {
  return std::const_pointer_cast<WritingStep>(step);
}

std::vector<std::pair<std::uint32_t, std::string>> rules_of(const py::dict& rules) {
  std::vector<std::pair<std::uint32_t, std::string>> list;
  list.reserve(rules.size());
  for (const auto& [point, written] : rules) {
    list.emplace_back(point.cast<std::uint32_t>(), written.cast<std::string>());
  }
  return list;
}

// A byte a text, if given: which do not begin their document.
class InnerFlags {
 public:
  InnerFlags(const py::object& flags, std::size_t texts) {
    if (flags.is_none()) return;
    bytes_ = flags.cast<std::string>();
    if (bytes_->size() != texts) throw py::value_error("inner: takes a byte for each text");
  }
  const std::uint8_t* data() const {
    return bytes_ ? reinterpret_cast<const std::uint8_t*>(bytes_->data()) : nullptr;
  }

 private:
  std::optional<std::string> bytes_;
};

py::list write_batch(const TextWriter& writer, const py::object& objects, const py::object& inner,
                     int threads) {
  const HeldTexts texts = HeldTexts::of_many(objects);
  const InnerFlags flags(inner, texts.texts().size());
  std::optional<WrittenTexts> written;
  {
    const ReleaseGil nogil;
    written.emplace(writer, texts.texts(), flags.data(), threads);
  }
  py::list out(written->texts().size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Text& text = written->texts()[i];
    out[i] = py::bytes(static_cast<const char*>(text.data), static_cast<std::size_t>(text.length));
  }
  return out;
}

py::array_t<std::uint32_t> encode(const TextWriter& writer, const Model& model,
                                  const py::object& object, const py::object& flags) {
  const Text text = text_of(object);
  const AllowedSpecial allowed = allowed_of(model, flags);
  constexpr std::int64_t kBrief = 256;  // encoded in less time than the GIL takes to change hands
  if (text.length < kBrief) {
    // Taken for the call: a signal handler may encode in this thread before it is over.
    static thread_local std::unique_ptr<TextWriter::Scratch> kept;
    auto scratch = kept ? std::move(kept) : std::make_unique<TextWriter::Scratch>();
    const WorkerPool::Lease worker = model.encoder().workers().acquire();
    worker->ids.clear();
    model.encode(writer(text, true, scratch.get()), allowed, *worker, &worker->ids);
    kept = std::move(scratch);
    return copy_of(worker->ids);
  }
  TokenBuffer ids;
  {
    const ReleaseGil nogil;
    TextWriter::Scratch scratch;
    ids = model.encode_long(writer(text, true, &scratch), allowed, 0);
  }
  return array_of(std::move(ids));
}

py::tuple encode_batch(const TextWriter& writer, const Model& model, const py::object& objects,
                       const py::object& inner, const py::object& special, int threads) {
  const HeldTexts texts = HeldTexts::of_many(objects);
  const InnerFlags flags(inner, texts.texts().size());
  const AllowedSpecial allowed = allowed_of(model, special);
  py::array_t<std::int64_t> offsets(static_cast<py::ssize_t>(texts.texts().size()) + 1);
  TokenBuffer ids;
  std::int64_t* const place = offsets.mutable_data();
  {
    const ReleaseGil nogil;
    const WrittenTexts written(writer, texts.texts(), flags.data(), threads);
    ids = model.encode_batch(written.texts(), allowed, threads, place);
  }
  return py::make_tuple(array_of(std::move(ids)), offsets);
}

py::array_t<std::int64_t> count_batch(const TextWriter& writer, const Model& model,
                                      const py::object& objects, int threads) {
  const HeldTexts texts = HeldTexts::of_many(objects);
  py::array_t<std::int64_t> counts(static_cast<py::ssize_t>(texts.texts().size()));
  std::int64_t* const place = counts.mutable_data();
  {
    const ReleaseGil nogil;
    const WrittenTexts written(writer, texts.texts(), nullptr, threads);
    model.count_batch(written.texts(), threads, place);
  }
  return counts;
}

py::tuple replace_text(const Charsmap& map, const py::object& text,
                       const GraphemeTable& graphemes) {
  HeldTexts texts(text);
  AlignedText result;
  {
    const ReleaseGil nogil;
    const TextView view = texts.utf8()[0];
    result = replace_aligned(map, graphemes, view.data, view.size);
  }
  const auto count = static_cast<py::ssize_t>(result.sources.size());
  return py::make_tuple(py::bytes(result.text),
                        py::array_t<std::int64_t>(count, result.sources.data()));
}

py::array_t<std::int64_t> grapheme_ends(const GraphemeTable& graphemes, const py::object& text) {
  HeldTexts texts(text);
  std::vector<std::int64_t> ends;
  {
    const ReleaseGil nogil;
    const TextView view = texts.utf8()[0];
    for (std::int64_t at = 0; at < view.size;) {
      at = graphemes.end(view.data, view.size, at);
      ends.push_back(at);
    }
  }
  return py::array_t<std::int64_t>(static_cast<py::ssize_t>(ends.size()), ends.data());
}

Beginning beginning_of(const std::string& prepend) {
  if (prepend == "always") return Beginning::kAlways;
  if (prepend == "first") return Beginning::kFirst;
  if (prepend == "never") return Beginning::kNever;
  throw py::value_error("prepend: unknown name " + prepend);
}

void bind_steps(py::module_& writing) {
  py::class_<WritingStep, std::shared_ptr<WritingStep>>(writing, "Step");
  writing.def(
      "replace",
      [](std::string old, std::string written) {
        return held(replace_step(std::move(old), std::move(written)));
      },
      py::arg("old"), py::arg("new"));
  writing.def("squeeze", [] { return held(squeeze_step()); });
  writing.def(
      "squeeze_spaces",
      [](std::string written, bool alone) {
        return held(squeeze_spaces_step(std::move(written), alone));
      },
      py::arg("new"), py::arg("alone"));
  writing.def(
      "prepend", [](std::string prefix) { return held(prepend_step(std::move(prefix))); },
      py::arg("prefix"));
  writing.def(
      "strip", [](bool left, bool right) { return held(strip_step(left, right)); }, py::arg("left"),
      py::arg("right"));
  writing.def(
      "map", [](const std::shared_ptr<CharacterMap>& map) { return held(map_step(map)); },
      py::arg("map").none(false));
  writing.def(
      "charsmap",
      [](const std::shared_ptr<Charsmap>& map, const std::shared_ptr<GraphemeTable>& graphemes) {
        return held(charsmap_step(map, graphemes));
      },
      py::arg("map").none(false), py::arg("graphemes").none(false));
  writing.def(
      "metaspace",
      [](const std::string& prepend, bool words) {
        return held(metaspace_step(beginning_of(prepend), words));
      },
      py::arg("prepend"), py::arg("words"));
  writing.def(
      "unicode_form",
      [](const py::dict& apart, std::vector<std::pair<std::uint32_t, std::uint8_t>> classes,
         std::vector<std::vector<std::uint32_t>> pairs, bool composes) {
        FormTables tables{rules_of(apart), std::move(classes), std::move(pairs), composes};
        return held(std::make_shared<UnicodeForm>(std::move(tables)));
      },
      py::arg("apart"), py::arg("classes"), py::arg("pairs"), py::arg("composes"));
}

}  // namespace

void bind_writing(py::module_& module) {
  py::module_ writing = module.def_submodule("writing");
  py::class_<CharacterMap, std::shared_ptr<CharacterMap>>(writing, "CharacterMap")
      .def(py::init([](const py::dict& rules) {
             return std::make_shared<CharacterMap>(rules_of(rules));
           }),
           py::arg("rules"));
  py::class_<GraphemeTable, std::shared_ptr<GraphemeTable>>(writing, "GraphemeTable")
      .def(py::init([](const py::bytes& classes) {
             return std::make_shared<GraphemeTable>(static_cast<std::string>(classes));
           }),
           py::arg("classes"))
      .def("ends", &grapheme_ends, py::arg("text"));
  py::class_<Charsmap, std::shared_ptr<Charsmap>>(writing, "Charsmap")
      .def(py::init([](const py::bytes& blob) {
             return std::make_shared<Charsmap>(static_cast<std::string>(blob));
           }),
           py::arg("blob"))
      .def("replace", &replace_text, py::arg("text"), py::arg("graphemes"));
  bind_steps(writing);
  py::class_<TextWriter>(writing, "TextWriter")
      .def(py::init([](const std::vector<std::shared_ptr<WritingStep>>& steps, bool repairs) {
             return std::make_unique<TextWriter>(
                 std::vector<StepPointer>(steps.begin(), steps.end()), repairs);
           }),
           py::arg("steps"), py::arg("repairs"))
      .def("write_batch", &write_batch, py::arg("texts"), py::arg("inner").none(true),
           py::arg("threads"))
      .def("encode", &encode, py::arg("model"), py::arg("text"), py::arg("allowed").none(true))
      .def("encode_batch", &encode_batch, py::arg("model"), py::arg("texts"),
           py::arg("inner").none(true), py::arg("allowed").none(true), py::arg("threads"))
      .def("count_batch", &count_batch, py::arg("model"), py::arg("texts"), py::arg("threads"));
}

}  // namespace tokfrag
