#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>

#include "bindings/arrays.hpp"
#include "bindings/bind_encode.hpp"
#include "bindings/bindings.hpp"
#include "bindings/held_texts.hpp"
#include "bindings/token_arrays.hpp"
#include "core/checked.hpp"
#include "core/huge_buffer.hpp"
#include "core/interrupt.hpp"
#include "core/parallel.hpp"
#include "tokens/byte_pair/dropout.hpp"
#include "tokens/byte_pair/model.hpp"
#include "tokens/byte_pair/tiktoken_file.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

using Special = std::vector<std::pair<std::string, std::uint32_t>>;

std::optional<PatternFamily> family_of(const std::string& pattern) {
  if (pattern.empty()) return std::nullopt;
  PatternFamily found{};
  if (!find_pattern(pattern, &found)) throw py::value_error("pattern: unknown name " + pattern);
  return found;
}

std::vector<SpecialTokens::Token> special_of(const Special& special) {
  std::vector<SpecialTokens::Token> tokens;
  for (const auto& [text, id] : special) tokens.push_back({text, id});
  return tokens;
}

std::unique_ptr<Model> make_model(const py::bytes& bytes, const Array<std::int64_t>& offsets,
                                  const Array<std::uint32_t>& ids, const py::object& merges,
                                  bool whole_pieces, const std::string& pattern,
                                  const Special& special) {
  const std::optional<PatternFamily> family = family_of(pattern);
  std::vector<Symbol> left;
  std::vector<Symbol> right;
  if (!merges.is_none()) {
    const auto pairs = merges.cast<Array<std::uint32_t>>();
    if (pairs.ndim() != 2 || pairs.shape(1) != 2) {
      throw py::value_error("merges: takes two tokens a row");
    }
    const std::uint32_t* row = pairs.data();
    for (py::ssize_t i = 0; i < pairs.shape(0); ++i, row += 2) {
      left.push_back(row[0]);
      right.push_back(row[1]);
    }
  }
  const std::string blob = bytes;
  const bool listed = !merges.is_none();
  std::vector<std::int64_t> offset_list(offsets.data(), offsets.data() + offsets.size());
  std::vector<std::uint32_t> id_list(ids.data(), ids.data() + ids.size());
  const ReleaseGil nogil;
  Vocabulary vocabulary(blob, std::move(offset_list), std::move(id_list));
  PairTable pairs =
      listed ? PairTable::from_merges(vocabulary, left, right) : PairTable::from_ranks(vocabulary);
  return std::make_unique<Model>(Tables(std::move(vocabulary), std::move(pairs)), whole_pieces,
                                 family, special_of(special));
}

py::bytes archive(const Model& model) {
  struct {
    const Vocabulary& vocabulary;
    const PairTable& pairs;
    const JoinFilter& joins;
  } const view{model.encoder().vocabulary(), model.encoder().pairs(), model.encoder().joins()};
  ArchiveWriter writer;
  Tables::fields(writer, view);
  return py::bytes(writer.finish());
}

std::unique_ptr<Model> from_archive(const py::buffer& archive, bool whole_pieces,
                                    const std::string& pattern, const Special& special) {
  const std::optional<PatternFamily> family = family_of(pattern);
  const HeldBytes bytes(archive);
  const ReleaseGil nogil;
  ArchiveReader reader(bytes.data(), bytes.size());
  Tables tables;
  Tables::fields(reader, tables);
  reader.expect_end();
  if (!tables.are_sound()) throw ArchiveError("archive: not of tables that belong together");
  return std::make_unique<Model>(std::move(tables), whole_pieces, family, special_of(special));
}

void check_ends(const std::int64_t* ends, std::int64_t count, std::int64_t size) {
  std::int64_t before = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (ends[i] < before || ends[i] > size) {
      throw py::value_error("ends: got " + std::to_string(ends[i]) + ", take ascending places in " +
                            std::to_string(size) + " bytes of text");
    }
    before = ends[i];
  }
}

py::array_t<std::uint32_t> encode_pieces(const Model& model, const py::object& object,
                                         const Array<std::int64_t>& ends) {
  const Text text = text_of(object);
  TokenBuffer ids;
  {
    const ReleaseGil nogil;
    const WorkerPool::Lease worker = model.encoder().workers().acquire();
    const Utf8 utf8 = to_utf8(text, &worker->text);
    check_ends(ends.data(), ends.size(), utf8.size);
    model.encoder().encode_pieces(utf8.data, ends.data(), ends.size(), *worker, &ids);
  }
  return array_of(std::move(ids));
}

py::tuple encode_batch(const Model& model, const py::object& objects, const py::object& flags,
                       int threads) {
  const HeldTexts held = HeldTexts::of_many(objects);
  const std::vector<Text>& texts = held.texts();
  const AllowedSpecial allowed = allowed_of(model, flags);
  py::array_t<std::int64_t> offsets(static_cast<py::ssize_t>(texts.size()) + 1);
  TokenBuffer ids;
  std::int64_t* const place = offsets.mutable_data();
  {
    const ReleaseGil nogil;
    ids = model.encode_batch(texts, allowed, threads, place);
  }
  return py::make_tuple(array_of(std::move(ids)), offsets);
}

py::tuple encode_batch_with_dropout(const Model& model, const py::object& objects,
                                    const py::object& flags, const Array<std::uint64_t>& streams,
                                    double dropout, std::uint64_t seed, int threads) {
  const HeldTexts held = HeldTexts::of_many(objects);
  const std::vector<Text>& texts = held.texts();
  if (streams.size() != static_cast<py::ssize_t>(texts.size())) {
    throw py::value_error("streams: takes one for each text");
  }
  const AllowedSpecial allowed = allowed_of(model, flags);
  py::array_t<std::int64_t> offsets(static_cast<py::ssize_t>(texts.size()) + 1);
  TokenBuffer ids;
  std::int64_t* const place = offsets.mutable_data();
  const std::uint64_t* const numbers = streams.data();
  {
    const ReleaseGil nogil;
    ids = encode_with_dropout(model, texts, allowed, numbers, {dropout, seed}, threads, place);
  }
  return py::make_tuple(array_of(std::move(ids)), offsets);
}

py::array_t<std::uint32_t> encode_pieces_with_dropout(const Model& model, const py::object& object,
                                                      const Array<std::int64_t>& ends,
                                                      std::uint64_t stream, double dropout,
                                                      std::uint64_t seed) {
  const Text text = text_of(object);
  TokenBuffer ids;
  const std::int64_t* const places = ends.data();
  const std::int64_t count = ends.size();
  {
    const ReleaseGil nogil;
    Utf8Scratch scratch;
    const Utf8 utf8 = to_utf8(text, &scratch);
    check_ends(places, count, utf8.size);
    ids = encode_with_dropout(model, utf8, places, count, stream, {dropout, seed});
  }
  return array_of(std::move(ids));
}

std::int64_t count(const Model& model, const py::object& object) {
  const Text text = text_of(object);
  const ReleaseGil nogil;
  if (utf8_bound(text) >= Model::kLong) {
    Utf8Scratch scratch;
    return model.count_long(to_utf8(text, &scratch), 0);
  }
  const WorkerPool::Lease worker = model.encoder().workers().acquire();
  return model.count(to_utf8(text, &worker->text), *worker);
}

py::array_t<std::int64_t> count_batch(const Model& model, const py::object& objects, int threads) {
  const HeldTexts held = HeldTexts::of_many(objects);
  py::array_t<std::int64_t> counts(static_cast<py::ssize_t>(held.texts().size()));
  std::int64_t* const place = counts.mutable_data();
  {
    const ReleaseGil nogil;
    model.count_batch(held.texts(), threads, place);
  }
  return counts;
}

template <class Id>
py::bytes decode(const Model& model, const Array<Id>& ids) {
  const Id* const data = ids.data();
  const std::int64_t count = ids.size();
  std::int64_t size = 0;
  {
    const ReleaseGil nogil;
    size = model.decoder().measure(data, count);
  }
  if (size < 0) {
    const std::int64_t at = -1 - size;
    throw py::index_error("ids: no token has id " + std::to_string(data[at]) + ", at position " +
                          std::to_string(at));
  }
  py::bytes out = py::reinterpret_steal<py::bytes>(PyBytes_FromStringAndSize(nullptr, size));
  if (!out) throw py::error_already_set();
  auto* const place = reinterpret_cast<std::uint8_t*>(PyBytes_AS_STRING(out.ptr()));
  bool fits = false;
  {
    const ReleaseGil nogil;
    fits = model.decoder().write(data, count, place, size);
  }
  if (!fits) throw py::value_error("ids: another thread has changed them meanwhile");
  return out;
}

// Rows of a batch as a matrix, and which of its places hold an id, in one pass.
template <class Id>
py::tuple pad(const Array<std::uint32_t>& ids, const Array<std::int64_t>& offsets,
              std::int64_t length, Id pad_id, bool left) {
  const std::int64_t rows = offsets.size() - 1;
  checked_multiply(checked_multiply(rows, length), sizeof(Id));
  py::array_t<Id> matrix({rows, length});
  py::array_t<bool> mask({rows, length});
  Id* const places = matrix.mutable_data();
  bool* const used = mask.mutable_data();
  const std::uint32_t* const data = ids.data();
  const std::int64_t* const bounds = offsets.data();
  const std::int64_t held = ids.size();
  std::atomic<bool> outside{false};
  {
    const ReleaseGil nogil;
    advise_huge_pages(places, rows * length * static_cast<std::int64_t>(sizeof(Id)));
    constexpr std::int64_t kGrainIds = 1 << 16;
    parallel_for(rows, kGrainIds / (length + 1) + 1, 0,
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     const std::int64_t from = bounds[row];
                     const std::int64_t to_end = bounds[row + 1];
                     // The caller may have changed them since they were checked.
                     if (from < 0 || to_end < from || to_end > held) {
                       outside.store(true);
                       return;
                     }
                     const std::int64_t count = std::min(to_end - from, length);
                     const std::int64_t first = left ? length - count : 0;
                     Id* const to = places + row * length;
                     bool* const to_used = used + row * length;
                     std::fill(to, to + first, pad_id);
                     std::fill(to_used, to_used + first, false);
                     std::copy(data + from, data + from + count, to + first);
                     std::fill(to_used + first, to_used + first + count, true);
                     std::fill(to + first + count, to + length, pad_id);
                     std::fill(to_used + first + count, to_used + length, false);
                   }
                 });
  }
  if (outside.load()) throw py::value_error("offsets: take ascending places in ids");
  return py::make_tuple(matrix, mask);
}

py::object token_bytes(const Model& model, const py::object& id) {
  const std::uint8_t* bytes = nullptr;
  std::int64_t length = 0;
  if (!model.decoder().find(integer_of(id), &bytes, &length)) return py::none();
  return py::bytes(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(length));
}

py::object token_id(const Model& model, const py::bytes& token) {
  const auto view = static_cast<std::string_view>(token);
  const auto& vocabulary = model.encoder().vocabulary();
  const Symbol symbol = vocabulary.find(reinterpret_cast<const std::uint8_t*>(view.data()),
                                        static_cast<std::int64_t>(view.size()));
  if (symbol == kNoSymbol) return py::none();
  return py::int_(vocabulary.id(symbol));
}

py::tuple vocabulary_arrays(const Model& model) {
  const auto& vocabulary = model.encoder().vocabulary();
  return py::make_tuple(py::bytes(vocabulary.all_bytes()),
                        py::array(py::cast(vocabulary.all_offsets())),
                        py::array_t<std::uint32_t>(vocabulary.size(), vocabulary.ids()));
}

py::tuple load_tiktoken(const py::bytes& file) {
  const auto view = static_cast<std::string_view>(file);
  RankedTokens tokens;
  {
    const ReleaseGil nogil;
    tokens = parse_tiktoken(view);
  }
  const auto array = [](const auto& values) {
    using T = typename std::decay_t<decltype(values)>::value_type;
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
  };
  return py::make_tuple(py::bytes(tokens.bytes), array(tokens.offsets), array(tokens.ranks),
                        array(tokens.lines));
}

py::array_t<std::int64_t> scan_utf8(const std::string& pattern, Utf8 text) {
  PatternFamily family{};
  if (!find_pattern(pattern, &family)) throw py::value_error("pattern: unknown name " + pattern);
  std::vector<std::int64_t> ends;
  std::int64_t chunk[256];
  Scanner scanner(family, text.data, text.size);
  while (const std::int64_t count = scanner.next(chunk, 256)) {
    ends.insert(ends.end(), chunk, chunk + count);
  }
  return py::array_t<std::int64_t>(static_cast<py::ssize_t>(ends.size()), ends.data());
}

py::array_t<std::int64_t> scan(const std::string& pattern, const py::object& object) {
  Utf8Scratch scratch;
  return scan_utf8(pattern, to_utf8(text_of(object), &scratch));
}

}  // namespace

void bind_tokens(py::module_& module) {
  py::module_ tokens = module.def_submodule("tokens");

  static PyObject* vocabulary_error = nullptr;
  vocabulary_error =
      PyErr_NewException("tokfrag._core.tokens.VocabularyError", PyExc_ValueError, nullptr);
  tokens.attr("VocabularyError") = py::handle(vocabulary_error);
  py::register_local_exception_translator([](std::exception_ptr raised) {
    try {
      if (raised) std::rethrow_exception(raised);
    } catch (const VocabularyError& error) {
      PyErr_SetObject(vocabulary_error, py::make_tuple(error.what(), error.token).ptr());
    }
  });

  py::register_local_exception<ArchiveError>(tokens, "ArchiveError", PyExc_ValueError);

  py::class_<Model>(tokens, "Model")
      .def(py::init(&make_model), py::arg("bytes"), py::arg("offsets"), py::arg("ids"),
           py::arg("merges").none(true), py::arg("whole_pieces"), py::arg("pattern"),
           py::arg("special"))
      .def_static("from_archive", &from_archive, py::arg("archive"), py::arg("whole_pieces"),
                  py::arg("pattern"), py::arg("special"))
      .def("archive", &archive)
      .def(
          "encode",
          [](const Model& model, const py::object& text, const py::object& flags,
             const py::object& limit) {
            return encode(model, text, allowed_of(model, flags), integer_of(limit));
          },
          py::arg("text"), py::arg("allowed") = py::none(), py::arg("limit") = py::int_(INT64_MAX))
      .def_property_readonly("encode_function", &encode_function)
      .def("encode_pieces", &encode_pieces, py::arg("text"), py::arg("ends"))
      .def("encode_batch", &encode_batch, py::arg("texts"), py::arg("allowed"), py::arg("threads"))
      .def("encode_batch_with_dropout", &encode_batch_with_dropout, py::arg("texts"),
           py::arg("allowed"), py::arg("streams"), py::arg("dropout"), py::arg("seed"),
           py::arg("threads"))
      .def("encode_pieces_with_dropout", &encode_pieces_with_dropout, py::arg("text"),
           py::arg("ends"), py::arg("stream"), py::arg("dropout"), py::arg("seed"))
      .def("count", &count, py::arg("text"))
      .def("count_batch", &count_batch, py::arg("texts"), py::arg("threads"))
      .def("decode", &decode<std::uint32_t>, py::arg("ids").noconvert())
      .def("decode", &decode<std::int32_t>, py::arg("ids").noconvert())
      .def("decode", &decode<std::int64_t>, py::arg("ids").noconvert())
      .def_property_readonly("id_count",
                             [](const Model& model) { return model.decoder().id_count(); })
      .def("token_bytes", &token_bytes, py::arg("id"))
      .def("token_id", &token_id, py::arg("token"))
      .def("vocabulary", &vocabulary_arrays);

  tokens.attr("ARCHIVE_VERSION") = kArchiveVersion;
  tokens.def(
      "checksum",
      [](const py::buffer& bytes) {
        const HeldBytes held(bytes);
        return checksum(held.data(), held.size());
      },
      py::arg("bytes"));
  tokens.def("load_tiktoken", &load_tiktoken, py::arg("file"));
  tokens.def("pad_i64", &pad<std::int64_t>, py::arg("ids"), py::arg("offsets"), py::arg("length"),
             py::arg("pad_id"), py::arg("left"));
  tokens.def("pad_i32", &pad<std::int32_t>, py::arg("ids"), py::arg("offsets"), py::arg("length"),
             py::arg("pad_id"), py::arg("left"));
  tokens.def("scan", &scan, py::arg("pattern"), py::arg("text"),
             "Where the pieces of a pattern end, in UTF-8 bytes.");
  tokens.def(
      "scan_at",
      [](const std::string& pattern, std::uintptr_t address, std::int64_t size) {
        return scan_utf8(pattern, {reinterpret_cast<const std::uint8_t*>(address), size});
      },
      py::arg("pattern"), py::arg("address"), py::arg("size"),
      "The same for text at an address: how the tests see that nothing outside it is read.");
}

}  // namespace tokfrag
