// A plain fuzzer for compilers without libFuzzer: `driver SECONDS SEED FILE...` runs the files,
// then changed and spliced copies of them, and of inputs it made up. The input that a crash came
// from is left in crash-<driver>-<seed>.bin in the current folder; `driver 0 0 THAT_FILE` runs it
// again.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "input.hpp"

namespace {

using Bytes = std::vector<std::uint8_t>;

std::string crash_file;
const Bytes* current = nullptr;

// From a signal handler, or when a sanitizer ends the process: only system calls.
void keep_current() {
  if (current == nullptr || crash_file.empty()) return;
  const int file = open(crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0) return;
  const ssize_t written = write(file, current->data(), current->size());
  close(file);
  if (written == static_cast<ssize_t>(current->size())) current = nullptr;
}

void on_abort(int) {
  keep_current();
  std::signal(SIGABRT, SIG_DFL);
  std::abort();
}

void run(const Bytes& input) {
  current = &input;
  LLVMFuzzerTestOneInput(input.data(), input.size());
  current = nullptr;
}

class Mutator {
 public:
  Mutator(std::uint64_t seed, const std::vector<Bytes>& corpus) : random_(seed), corpus_(corpus) {}

  Bytes next() {
    Bytes made = below(4) == 0 ? fresh() : corpus_[below(corpus_.size())];
    for (std::size_t changes = below(6); changes > 0; --changes) change(made);
    if (made.size() > kMost) made.resize(kMost);
    return made;
  }

 private:
  static constexpr std::size_t kMost = 1 << 14;

  std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }

  Bytes fresh() {
    static const char* const kParts[] = {" ",
                                         "a",
                                         "B",
                                         "the",
                                         "'s",
                                         "'LL",
                                         "1",
                                         "12",
                                         "\n",
                                         "\r\n",
                                         "\t",
                                         "/",
                                         "!",
                                         "\xc3\xa9",
                                         "\xe4\xbd\xa0",
                                         "\xf0\x9f\x99\x82",
                                         "\xcc\x81",
                                         "\xff",
                                         "\xed\xa0\x80",
                                         "\xe2",
                                         "<|e|>"};
    Bytes made;
    const std::size_t parts = below(200);
    for (std::size_t i = 0; i < parts; ++i) {
      if (below(3) == 0) {
        made.push_back(static_cast<std::uint8_t>(random_()));
      } else {
        for (const char* c = kParts[below(std::size(kParts))]; *c != 0; ++c) {
          made.push_back(static_cast<std::uint8_t>(*c));
        }
      }
    }
    return made;
  }

  void change(Bytes& bytes) {
    if (bytes.empty()) return bytes.push_back(static_cast<std::uint8_t>(random_()));
    const std::size_t at = below(bytes.size());
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(6)) {
      case 0:
        bytes[at] ^= static_cast<std::uint8_t>(1u << below(8));
        break;
      case 1:
        bytes[at] = static_cast<std::uint8_t>(random_());
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.insert(place, below(9) + 1, static_cast<std::uint8_t>(random_()));
        break;
      case 4: {  // an extreme number of eight bytes
        static const std::uint64_t kNumbers[] = {0, 1, ~0ull, ~0ull >> 1, 1ull << 63, 1ull << 40};
        const std::uint64_t number = kNumbers[below(std::size(kNumbers))];
        if (bytes.size() - at >= 8) std::memcpy(&bytes[at], &number, 8);
        break;
      }
      default: {
        const Bytes& other = corpus_[below(corpus_.size())];
        if (!other.empty()) {
          bytes.resize(at);
          bytes.insert(bytes.end(),
                       other.begin() + static_cast<std::ptrdiff_t>(below(other.size())),
                       other.end());
        }
      }
    }
  }

  std::mt19937_64 random_;
  const std::vector<Bytes>& corpus_;
};

}  // namespace

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
extern "C" void __sanitizer_set_death_callback(void (*)());
#endif

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s SECONDS SEED [FILE...]\n", argv[0]);
    return 2;
  }
  const double seconds = std::atof(argv[1]);
  const std::uint64_t seed = std::strtoull(argv[2], nullptr, 10);
  const std::string path = argv[0];
  crash_file = "crash-" + path.substr(path.rfind('/') + 1) + "-" + argv[2] + ".bin";
  std::signal(SIGABRT, &on_abort);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  __sanitizer_set_death_callback(&keep_current);
#endif
  std::vector<Bytes> corpus{{}};
  for (int i = 3; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "%s: cannot be read\n", argv[i]);
      return 2;
    }
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    run(corpus.back());
  }
  Mutator mutator(seed, corpus);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  std::int64_t inputs = 0;
  for (; std::chrono::steady_clock::now() < end; ++inputs) run(mutator.next());
  std::printf("%s: %d files, %lld inputs, seed %s\n", argv[0], argc - 3,
              static_cast<long long>(inputs), argv[2]);
  return 0;
}
