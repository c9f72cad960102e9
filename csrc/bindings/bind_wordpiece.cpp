// BERT's tokenizer: tokfrag._core.wordpiece. Python has checked every argument.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/held_texts.hpp"
#include "bindings/token_arrays.hpp"
#include "core/interrupt.hpp"
#include "tokens/scan/scanner.hpp"
#include "tokens/text/utf8.hpp"
#include "tokens/wordpiece/batch.hpp"
#include "tokens/wordpiece/encoder.hpp"
#include "tokens/wordpiece/word_memory.hpp"
#include "tokens/wordpiece/wordpiece.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

using Ids = CastArray<std::uint32_t>;

constexpr std::uint32_t kPoints = 0x110000;

std::vector<std::uint32_t> to_vector(const Ids& ids) {
  return {ids.data(), ids.data() + ids.size()};
}

// Tables as wordpiece.hpp says, so that reading them goes nowhere else, nor on for ever.
void check_tables(const std::uint32_t* units, const std::vector<std::uint32_t>& lists) {
  std::vector<bool> begins(lists.size());
  for (std::size_t at = 1; at < lists.size(); at += lists[at] + std::size_t{1}) {
    if (lists[at] >= lists.size() - at) throw py::value_error("lists: one is cut short");
    begins[at] = true;
    for (std::uint32_t i = 1; i <= lists[at]; ++i) {
      if (unit_kind(lists[at + i]) == UnitKind::kSeveral) {
        throw py::value_error("lists: one holds another");
      }
    }
  }
  for (std::uint32_t code = 0; code < kPoints; ++code) {
    if (unit_kind(units[code]) != UnitKind::kSeveral) continue;
    const std::uint32_t list = unit_payload(units[code]);
    if (list >= lists.size() || !begins[list]) {
      throw py::value_error("units: one names a list that is not there");
    }
  }
}

std::unique_ptr<WordPieceEncoder> make_model(const std::vector<py::bytes>& tokens,
                                             const py::bytes& prefix, const Ids& units,
                                             const Ids& lists, std::uint32_t unknown,
                                             std::int64_t longest_word) {
  std::vector<std::string> spellings(tokens.begin(), tokens.end());
  const auto prefix_view = static_cast<std::string>(prefix);
  if (units.size() != kPoints) throw py::value_error("units: takes one for each code point");
  const std::vector<std::uint32_t> unit = to_vector(units);
  std::vector<std::uint32_t> list = to_vector(lists);
  const ReleaseGil nogil;
  check_tables(unit.data(), list);
  return std::make_unique<WordPieceEncoder>(WordPiece(spellings, prefix_view, unit.data(),
                                                      std::move(list),
                                                      WordPieceOptions{unknown, longest_word}));
}

py::array_t<std::uint32_t> encode(const WordPieceEncoder& encoder, const py::object& text) {
  constexpr std::int64_t kBrief = 256;  // encoded in less time than the GIL takes to change hands
  constexpr std::int64_t kLong = 1 << 18;
  HeldTexts held(text);
  if (held.texts()[0].length < kBrief) {
    const TextView view = held.utf8()[0];
    const WorkerPool::Lease worker = encoder.workers().acquire();
    worker->ids.clear();
    encoder.encode(view, *worker, &worker->ids);
    return copy_of(worker->ids);
  }
  TokenBuffer ids;
  {
    const ReleaseGil nogil;
    const TextView view = held.utf8()[0];
    if (view.size < kLong) {
      const WorkerPool::Lease worker = encoder.workers().acquire();
      encoder.encode(view, *worker, &ids);
    } else {
      const WordPieceBatch batch(encoder, {view}, 0);
      ids.reserve_more(batch.offsets().back());
      ids.set_size(batch.offsets().back());
      batch.gather(ids.data());
    }
  }
  return array_of(std::move(ids));
}

py::tuple encode_batch(const WordPieceEncoder& encoder, const py::object& texts, int threads) {
  HeldTexts held = HeldTexts::of_many(texts);
  std::unique_ptr<WordPieceBatch> batch;
  {
    const ReleaseGil nogil;
    batch = std::make_unique<WordPieceBatch>(encoder, held.utf8(), threads);
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

py::tuple encode_spans(const WordPieceEncoder& encoder, const py::object& text) {
  HeldTexts held(text);
  std::vector<std::uint32_t> ids;
  std::vector<TokenSpan> spans;
  {
    const ReleaseGil nogil;
    const TextView view = held.utf8()[0];
    encoder.model().encode(view.data, view.size, &ids, &spans);
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

// Text to ids word by word: words that are known from the memory, the others by a function of
// Python. Another thread may remember words while that function runs: nothing is held over it.
class WordTable {
 public:
  explicit WordTable(const std::string& pattern) {
    if (!find_pattern(pattern, &family_)) {
      throw py::value_error("pattern: unknown name " + pattern);
    }
  }

  py::array_t<std::uint32_t> encode(const py::object& text, const py::function& encode_word) {
    std::vector<std::uint32_t> ids;
    append(text_of(text), encode_word, &ids);
    return array_of(ids);
  }

  py::tuple encode_batch(const py::object& texts, const py::function& encode_word) {
    const HeldTexts held = HeldTexts::of_many(texts);
    std::vector<std::uint32_t> ids;
    std::vector<std::int64_t> offsets{0};
    for (const Text& text : held.texts()) {
      append(text, encode_word, &ids);
      offsets.push_back(static_cast<std::int64_t>(ids.size()));
    }
    return py::make_tuple(array_of(ids), array_of(offsets));
  }

 private:
  template <class T>
  static py::array_t<T> array_of(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
  }

  void append(const Text& text, const py::function& encode_word, std::vector<std::uint32_t>* ids) {
    Utf8Scratch scratch;
    const Utf8 utf8 = to_utf8(text, &scratch);
    Scanner scanner(family_, utf8.data, utf8.size);
    std::int64_t ends[256];
    std::int64_t begin = 0;
    while (const std::int64_t count = scanner.next(ends, 256)) {
      for (std::int64_t i = 0; i < count; ++i) {
        const bool is_space = read_char(utf8.data, utf8.size, begin).kind == kSpace;
        const std::string_view word(reinterpret_cast<const char*>(utf8.data + begin),
                                    static_cast<std::size_t>(ends[i] - begin));
        begin = ends[i];
        if (is_space || memory_.find(word, ids)) continue;
        const auto found =
            encode_word(py::bytes(word.data(), word.size())).cast<Array<std::uint32_t>>();
        ids->insert(ids->end(), found.data(), found.data() + found.size());
        memory_.insert(word, found.data(), found.size());
      }
      poll_interrupt();
    }
  }

  PatternFamily family_{};
  WordMemory memory_;
};

}  // namespace

void bind_wordpiece(py::module_& module) {
  py::module_ wordpiece = module.def_submodule("wordpiece");
  py::class_<WordTable>(wordpiece, "WordTable")
      .def(py::init<const std::string&>(), py::arg("pattern"))
      .def("encode", &WordTable::encode, py::arg("text"), py::arg("encode_word"))
      .def("encode_batch", &WordTable::encode_batch, py::arg("texts"), py::arg("encode_word"));
  py::class_<WordPieceEncoder>(wordpiece, "WordPiece")
      .def(py::init(&make_model), py::arg("tokens"), py::arg("prefix"), py::arg("units"),
           py::arg("lists"), py::arg("unknown"), py::arg("longest_word"))
      .def("encode", &encode, py::arg("text"))
      .def("encode_batch", &encode_batch, py::arg("texts"), py::arg("threads"))
      .def("encode_spans", &encode_spans, py::arg("text"));
}

}  // namespace tokfrag
