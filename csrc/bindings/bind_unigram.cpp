// SentencePiece's models: tokfrag._core.unigram. Python has checked every argument.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/held_texts.hpp"
#include "tokens/byte_pair/character_merges.hpp"
#include "tokens/byte_pair/model.hpp"
#include "tokens/unigram/model_normalizer.hpp"
#include "tokens/unigram/unigram.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

// One a token, or a byte; `fewer`: or none at all.
template <class T>
void check_count(const Array<T>& values, std::size_t count, const char* name, bool fewer = false) {
  const auto size = static_cast<std::size_t>(values.size());
  if (size == count || (fewer && size == 0)) return;
  throw py::value_error(std::string(name) + ": got " + std::to_string(size) + ", takes " +
                        std::to_string(count));
}

template <class T>
std::vector<T> to_vector(const Array<T>& values) {
  return {values.data(), values.data() + values.size()};
}

template <class T>
py::array_t<T> to_array(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

std::optional<PatternFamily> family_of(const std::string& pattern) {
  if (pattern.empty()) return std::nullopt;
  PatternFamily found{};
  if (!find_pattern(pattern, &found)) throw py::value_error("pattern: unknown name " + pattern);
  return found;
}

// The tokens and every byte that is none of them, each with its place as its id.
Vocabulary with_all_bytes(const std::vector<std::string>& tokens) {
  std::string bytes;
  std::vector<std::int64_t> offsets{0};
  bool seen[256] = {};
  const auto add = [&](const std::string& token) {
    bytes += token;
    offsets.push_back(static_cast<std::int64_t>(bytes.size()));
  };
  for (const std::string& token : tokens) {
    if (token.size() == 1) seen[static_cast<std::uint8_t>(token[0])] = true;
    add(token);
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (!seen[byte]) add(std::string(1, static_cast<char>(byte)));
  }
  std::vector<std::uint32_t> ids(offsets.size() - 1);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::uint32_t>(i);
  return Vocabulary(std::move(bytes), std::move(offsets), std::move(ids));
}

std::unique_ptr<Model> unigram_model(const std::vector<py::bytes>& tokens,
                                     const Array<double>& scores, const Array<std::uint32_t>& ids,
                                     std::uint32_t unknown, double unknown_score,
                                     bool single_precision, const Array<std::uint32_t>& byte_ids,
                                     const std::string& pattern) {
  check_count(scores, tokens.size(), "scores");
  check_count(ids, tokens.size(), "ids");
  check_count(byte_ids, 256, "byte_ids", true);
  const std::optional<PatternFamily> family = family_of(pattern);
  const std::vector<std::string> spellings(tokens.begin(), tokens.end());
  const std::vector<double> score_list = to_vector(scores);
  std::vector<std::uint32_t> id_list = to_vector(ids);
  UnigramOptions options{unknown, unknown_score, single_precision, to_vector(byte_ids)};
  const ReleaseGil nogil;
  auto words = std::make_unique<const Unigram>(spellings, score_list, std::move(id_list),
                                               std::move(options));
  return std::make_unique<Model>(Tables(with_all_bytes(spellings), PairTable()), family,
                                 std::move(words), std::vector<SpecialTokens::Token>());
}

std::unique_ptr<Model> character_model(
    const std::vector<py::bytes>& symbols, const py::object& merges,
    const Array<std::uint32_t>& ids, const Array<std::uint32_t>& byte_ids, std::uint32_t unknown,
    bool fuse_unknown, const std::string& pattern,
    const std::vector<std::pair<std::string, std::uint32_t>>& special) {
  check_count(ids, symbols.size(), "ids");
  const std::optional<PatternFamily> family = family_of(pattern);
  const std::vector<std::string> spellings(symbols.begin(), symbols.end());
  std::vector<Symbol> left;
  std::vector<Symbol> right;
  const bool listed = !merges.is_none();
  if (listed) {
    const auto pairs = merges.cast<Array<std::uint32_t>>();
    if (pairs.ndim() != 2 || pairs.shape(1) != 2) {
      throw py::value_error("merges: takes two symbols a row");
    }
    for (py::ssize_t i = 0; i < pairs.shape(0); ++i) {
      left.push_back(pairs.at(i, 0));
      right.push_back(pairs.at(i, 1));
    }
  }
  CharacterIds values{to_vector(ids), to_vector(byte_ids), unknown, fuse_unknown};
  std::vector<SpecialTokens::Token> named;
  for (const auto& [text, id] : special) named.push_back({text, id});
  const ReleaseGil nogil;
  Vocabulary vocabulary = with_all_bytes(spellings);
  PairTable pairs =
      listed ? PairTable::from_merges(vocabulary, left, right) : PairTable::from_ranks(vocabulary);
  values.ids.resize(static_cast<std::size_t>(vocabulary.size()), kNoId);
  auto words = std::make_unique<const CharacterMerges>(std::move(values));
  return std::make_unique<Model>(Tables(std::move(vocabulary), std::move(pairs)), family,
                                 std::move(words), std::move(named));
}

py::tuple encode_spans(const Model& model, const py::object& text) {
  HeldTexts held(text);
  TokenBuffer ids;
  std::vector<Span> spans;
  {
    const ReleaseGil nogil;
    const TextView view = held.utf8()[0];
    const WorkerPool::Lease worker = model.encoder().workers().acquire();
    const SpecialTokens& special = model.special();
    std::int64_t from = 0;
    while (from < view.size) {
      auto match = special.find(view.data, view.size, from, nullptr);
      if (match.token < 0) match.begin = match.end = view.size;
      const std::size_t first = spans.size();
      model.encoder().encode_spans(Stretch{view.data + from, match.begin - from}, *worker, &ids,
                                   &spans);
      for (std::size_t i = first; i < spans.size(); ++i) {
        spans[i].begin += from;
        spans[i].end += from;
      }
      if (match.token >= 0) {
        ids.push(special.tokens()[static_cast<std::size_t>(match.token)].id);
        spans.push_back({match.begin, match.end});
      }
      from = match.end;
    }
  }
  py::array_t<std::int64_t> places({spans.size(), std::size_t{2}});
  std::int64_t* out = places.mutable_data();
  for (const Span& span : spans) {
    *out++ = span.begin;
    *out++ = span.end;
  }
  return py::make_tuple(py::array_t<std::uint32_t>(ids.size(), ids.data()), places);
}

std::shared_ptr<ModelNormalizer> make_normalizer(const std::string& charsmap,
                                                 const std::vector<std::string>& user_defined,
                                                 bool add_dummy_prefix,
                                                 bool remove_extra_whitespaces) {
  return std::make_shared<ModelNormalizer>(
      charsmap, user_defined, NormalizerOptions{add_dummy_prefix, remove_extra_whitespaces});
}

py::tuple normalize_aligned(const ModelNormalizer& normalizer, const py::object& text) {
  HeldTexts held(text);
  std::string result;
  std::vector<std::int64_t> sources;
  {
    const ReleaseGil nogil;
    const TextView view = held.utf8()[0];
    normalizer(view.data, view.size, &result, &sources);
  }
  return py::make_tuple(py::bytes(result), to_array(sources));
}

}  // namespace

void bind_unigram(py::module_& module) {
  py::module_ unigram = module.def_submodule("unigram");
  unigram.def("unigram_model", &unigram_model, py::arg("tokens"), py::arg("scores"), py::arg("ids"),
              py::arg("unknown"), py::arg("unknown_score"), py::arg("single_precision"),
              py::arg("byte_ids"), py::arg("pattern"));
  unigram.def("character_model", &character_model, py::arg("symbols"), py::arg("merges").none(true),
              py::arg("ids"), py::arg("byte_ids"), py::arg("unknown"), py::arg("fuse_unknown"),
              py::arg("pattern"), py::arg("special"));
  unigram.def("encode_spans", &encode_spans, py::arg("model"), py::arg("text"));
  py::class_<ModelNormalizer, WritingStep, std::shared_ptr<ModelNormalizer>>(unigram,
                                                                             "ModelNormalizer")
      .def(py::init(&make_normalizer), py::arg("charsmap"), py::arg("user_defined"),
           py::arg("add_dummy_prefix"), py::arg("remove_extra_whitespaces"))
      .def("normalize_aligned", &normalize_aligned, py::arg("text"));
}

}  // namespace tokfrag
