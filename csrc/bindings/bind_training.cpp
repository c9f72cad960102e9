// Word counts and byte-pair training: tokfrag._core.training. Python has checked every argument.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/held_texts.hpp"
#include "core/checked.hpp"
#include "core/interrupt.hpp"
#include "tokens/training/merge_rules.hpp"
#include "tokens/training/packed_runs.hpp"
#include "tokens/training/trainer.hpp"
#include "tokens/training/word_counts.hpp"
#include "tokens/training/word_counts_scan.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

using Ids = CastArray<std::uint32_t>;
using Counts = CastArray<std::int64_t>;

// The id of each byte.
const std::uint32_t* byte_table(const Ids& byte_ids) {
  if (byte_ids.size() != 256) throw py::value_error("byte_ids: takes 256");
  return byte_ids.data();
}

void add_words(WordTable& table, const py::sequence& words, const Counts& counts) {
  const std::int64_t* count = counts.data();
  if (counts.size() != static_cast<py::ssize_t>(words.size())) {
    throw py::value_error("counts: takes one for each word");
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    const py::bytes word = words[i];
    table.add(static_cast<std::string_view>(word), count[i]);
  }
}

py::list items(const WordTable& table) {
  std::vector<WordTable::Word> words;
  {
    const ReleaseGil nogil;
    words = table.sorted();
  }
  constexpr std::uint64_t kPollEvery = 1 << 14;
  std::uint64_t done = 0;
  py::list result;
  for (const WordTable::Word& word : words) {
    if (++done % kPollEvery == 0) poll_interrupt();
    result.append(py::make_tuple(py::bytes(word.text), word.count));
  }
  return result;
}

void add_texts(PieceCounter& counter, const py::object& texts, std::size_t first_index) {
  HeldTexts held = HeldTexts::of_many(texts, first_index);
  const ReleaseGil nogil;
  counter.add_texts(held.utf8());
}

void add_lines(PieceCounter& counter, const py::object& block) {
  const HeldBytes held(block);
  const ReleaseGil nogil;
  counter.add_lines({held.data(), held.size()});
}

int family_of(const std::string& pattern) {
  PatternFamily family;
  return find_pattern(pattern, &family) ? static_cast<int>(family) : -1;
}

py::bytes pack(const WordTable& table) {
  std::string packed;
  {
    const ReleaseGil nogil;
    packed = pack_words(table);
  }
  return py::bytes(packed);
}

std::unique_ptr<WordTable> unpack(const py::bytes& packed) {
  const auto view = static_cast<std::string_view>(packed);
  const ReleaseGil nogil;
  return std::make_unique<WordTable>(unpack_words(view));
}

std::unique_ptr<Trainer> make_trainer(const std::vector<py::bytes>& tokens, std::int64_t vocab_size,
                                      std::int64_t min_frequency, std::int64_t max_token_length,
                                      int threads) {
  std::vector<std::string> spellings;
  spellings.reserve(tokens.size());
  for (const py::bytes& token : tokens) spellings.emplace_back(token);
  auto trainer = std::make_unique<Trainer>(
      std::move(spellings), TrainerOptions{vocab_size, min_frequency, max_token_length});
  trainer->set_threads(threads);
  return trainer;
}

// Every word as the ids of its bytes.
void add_counts(Trainer& trainer, const WordTable& table, const Ids& byte_ids) {
  const std::uint32_t* id_of = byte_table(byte_ids);
  const ReleaseGil nogil;
  std::int64_t words = 0;
  std::int64_t bytes = 0;
  table.for_each([&](std::string_view text, std::int64_t) {
    const auto length = static_cast<std::int64_t>(text.size());
    if (length < 2 || length > Trainer::kShortWord) return;
    ++words;
    bytes += length;
  });
  trainer.reserve(words, bytes);
  std::vector<std::uint32_t> symbols;
  table.for_each([&](std::string_view text, std::int64_t count) {
    symbols.resize(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
      symbols[i] = id_of[static_cast<unsigned char>(text[i])];
    }
    trainer.add_word(symbols.data(), static_cast<std::int64_t>(text.size()), count);
  });
}

// Packed runs in place, of any objects with a buffer.
class HeldRuns {
 public:
  explicit HeldRuns(const py::list& runs) {
    for (const py::handle run : runs) {
      const HeldBytes& bytes = held_.emplace_back(run);
      views_.emplace_back(reinterpret_cast<const char*>(bytes.data()),
                          static_cast<std::size_t>(bytes.size()));
    }
  }
  const std::vector<std::string_view>& views() const { return views_; }

 private:
  std::vector<HeldBytes> held_;
  std::vector<std::string_view> views_;
};

// The runs packed as one, block by block.
class MergedRuns {
 public:
  explicit MergedRuns(const py::list& runs) : held_(runs), words_(held_.views()) {}

  // At least `bytes` bytes, but at the end.
  py::bytes read(std::size_t bytes) {
    std::string packed;
    {
      const ReleaseGil nogil;
      WordTable::Word word{{}, 0};
      while (packed.size() < bytes && words_.next(&word)) pack_word(word, &packed);
    }
    return py::bytes(packed);
  }

 private:
  HeldRuns held_;
  RunMerge words_;
};

py::bytes merge_packed(const py::list& runs) {
  const HeldRuns held(runs);
  std::string packed;
  {
    const ReleaseGil nogil;
    merge_runs(held.views(), [&](const WordTable::Word& word) { pack_word(word, &packed); });
  }
  return py::bytes(packed);
}

// Every word of the runs as the ids of its bytes; the bytes of all texts.
std::int64_t add_runs(Trainer& trainer, const py::list& runs, const Ids& byte_ids) {
  const HeldRuns held(runs);
  const std::uint32_t* id_of = byte_table(byte_ids);
  const ReleaseGil nogil;
  std::vector<std::uint32_t> symbols;
  std::int64_t bytes = 0;
  merge_runs(held.views(), [&](const WordTable::Word& word) {
    const auto length = static_cast<std::int64_t>(word.text.size());
    symbols.resize(word.text.size());
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      symbols[i] = id_of[static_cast<unsigned char>(word.text[i])];
    }
    trainer.add_word(symbols.data(), length, word.count);
    bytes = checked_add(bytes, checked_multiply(length, word.count));
  });
  return bytes;
}

// Every word as the tokens that the rules merge its bytes to.
void add_encoded_counts(Trainer& trainer, const WordTable& table, const Ids& byte_ids,
                        const MergeRules& rules) {
  const std::uint32_t* id_of = byte_table(byte_ids);
  const ReleaseGil nogil;
  std::vector<std::uint32_t> symbols;
  table.for_each([&](std::string_view text, std::int64_t count) {
    symbols.clear();
    for (const char byte : text) symbols.push_back(id_of[static_cast<unsigned char>(byte)]);
    rules.apply(symbols);
    trainer.add_word(symbols.data(), static_cast<std::int64_t>(symbols.size()), count);
  });
}

std::unique_ptr<MergeRules> make_rules(const Ids& merges) {
  std::vector<Merge> table(static_cast<std::size_t>(merges.shape(0)));
  const std::uint32_t* in = merges.data();
  for (Merge& merge : table) {
    merge = {in[0], in[1], in[2]};
    in += 3;
  }
  return std::make_unique<MergeRules>(table);
}

// One word after the other: piece i draws its random numbers from stream i.
py::tuple apply_rules(const MergeRules& rules, const Ids& ids, const Counts& offsets,
                      double dropout, std::uint64_t seed) {
  const std::uint32_t* symbols = ids.data();
  const std::int64_t* offset = offsets.data();
  const py::ssize_t words = offsets.size() - 1;
  std::vector<std::uint32_t> result;
  std::vector<std::int64_t> ends{0};
  {
    const ReleaseGil nogil;
    std::vector<std::uint32_t> word;
    for (py::ssize_t i = 0; i < words; ++i) {
      word.assign(symbols + offset[i], symbols + offset[i + 1]);
      SplitMix random(seed, static_cast<std::uint64_t>(i));
      rules.apply(word, dropout, random);
      result.insert(result.end(), word.begin(), word.end());
      ends.push_back(static_cast<std::int64_t>(result.size()));
    }
  }
  return py::make_tuple(
      py::array_t<std::uint32_t>(static_cast<py::ssize_t>(result.size()), result.data()),
      py::array_t<std::int64_t>(static_cast<py::ssize_t>(ends.size()), ends.data()));
}

py::array_t<std::uint32_t> merges(const Trainer& trainer) {
  py::array_t<std::uint32_t> result({trainer.merges().size(), std::size_t{3}});
  std::uint32_t* out = result.mutable_data();
  for (const Merge& merge : trainer.merges()) {
    *out++ = merge.left;
    *out++ = merge.right;
    *out++ = merge.id;
  }
  return result;
}

py::list tokens(const Trainer& trainer) {
  py::list result;
  for (const std::string& token : trainer.tokens()) result.append(py::bytes(token));
  return result;
}

}  // namespace

void bind_training(py::module_& module) {
  py::module_ training = module.def_submodule("training");

  py::class_<WordTable>(training, "WordTable")
      .def(py::init<>())
      .def("add_words", &add_words, py::arg("words"), py::arg("counts"))
      .def(
          "merge",
          [](WordTable& table, const WordTable& other) {
            const ReleaseGil nogil;
            table.merge(other);
          },
          py::arg("other"))
      .def("__len__", &WordTable::size)
      .def_property_readonly("total", &WordTable::total)
      .def_property_readonly("n_bytes", &WordTable::bytes)
      .def_property_readonly("memory", &WordTable::memory)
      .def("items", &items)
      .def("pack", &pack)
      .def_static("unpack", &unpack, py::arg("packed"));

  py::class_<MergedRuns>(training, "MergedRuns")
      .def(py::init<const py::list&>(), py::arg("runs"))
      .def("read", &MergedRuns::read, py::arg("bytes"));
  training.def("merge_packed", &merge_packed, py::arg("runs"));
  training.def("family_of", &family_of, py::arg("pattern"));
  py::class_<PieceCounter>(training, "PieceCounter")
      .def(py::init([](int family, int threads) {
             return std::make_unique<PieceCounter>(static_cast<PatternFamily>(family), threads);
           }),
           py::arg("family"), py::arg("threads"))
      .def("add_texts", &add_texts, py::arg("texts"), py::arg("first_index"))
      .def("add_lines", &add_lines, py::arg("block"))
      .def_property_readonly("memory", &PieceCounter::memory)
      .def("take", [](PieceCounter& counter) {
        const ReleaseGil nogil;
        return std::make_unique<WordTable>(counter.take());
      });

  py::class_<MergeRules>(training, "MergeRules")
      .def(py::init(&make_rules), py::arg("merges"))
      .def("apply", &apply_rules, py::arg("ids"), py::arg("offsets"), py::arg("dropout"),
           py::arg("seed"));

  py::class_<Trainer>(training, "Trainer")
      .def(py::init(&make_trainer), py::arg("tokens"), py::arg("vocab_size"),
           py::arg("min_frequency"), py::arg("max_token_length"), py::arg("threads"))
      .def("add_counts", &add_counts, py::arg("table"), py::arg("byte_ids"))
      .def("add_runs", &add_runs, py::arg("runs"), py::arg("byte_ids"))
      .def("add_encoded_counts", &add_encoded_counts, py::arg("table"), py::arg("byte_ids"),
           py::arg("rules"))
      .def(
          "run",
          [](Trainer& trainer, std::int64_t count) {
            const ReleaseGil nogil;
            return trainer.run(count);
          },
          py::arg("merges"))
      .def_property_readonly("vocab_size", &Trainer::vocab_size)
      .def_property_readonly("n_merges", [](const Trainer& t) { return t.merges().size(); })
      .def("tokens", &tokens)
      .def("merges", &merges)
      .def("token_counts", [](const Trainer& trainer) {
        const std::vector<std::int64_t>& counts = trainer.token_counts();
        return py::array_t<std::int64_t>(static_cast<py::ssize_t>(counts.size()), counts.data());
      });
}

}  // namespace tokfrag
