// Byte-pair encoding: from distinct words and their counts to merges.
//
// The rule, which is that of Hugging Face's BpeTrainer: a pair of neighbouring symbols counts once
// for every adjacent position (overlaps included) of every word, times the word's count. The pair
// with the highest count is merged, ties going to the smallest (left id, right id); in each word
// the merge is applied from left to right. A merge whose spelling is already a token takes that
// token's id. Counts are 64-bit (there they wrap at 32).
//
// Words of up to kShortWord symbols are rewritten in place. Longer ones are doubly linked lists,
// and pairs remember positions in them instead of words, so that no word costs more than O(n log
// n).
//
// The words of one merge are shared out between threads, each of which sums what it changed; the
// sums are added in the order of the places, so that nothing depends on the number of threads.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

#include "tokens/training/candidate_queue.hpp"
#include "tokens/training/sharing_pace.hpp"
#include "tokens/training/trainer_pairs.hpp"

namespace tokfrag {

struct TrainerOptions {
  std::int64_t vocab_size = 0;
  std::int64_t min_frequency = 0;
  // A new pair is a candidate only if its length is *less* than this.
  std::int64_t max_token_length = std::numeric_limits<std::int64_t>::max();
};

struct Merge {
  std::uint32_t left;
  std::uint32_t right;
  std::uint32_t id;
};

class Trainer {
 public:
  static constexpr std::int64_t kShortWord = 64;

  // `tokens`: spelling by id of what there is before the first merge; an empty spelling is a token
  // that no merge can produce.
  Trainer(std::vector<std::string> tokens, const TrainerOptions& options);

  // Makes room for words of 2 to kShortWord symbols that are to be added.
  void reserve(std::int64_t words, std::int64_t symbols);
  // Threads that merges may use (0: the default); the result does not depend on it.
  void set_threads(int threads);
  // Before the first run(). Throws std::overflow_error where the sum of counts exceeds 63 bits.
  void add_word(const std::uint32_t* symbols, std::int64_t length, std::int64_t count);

  // Makes up to `merges` merges; false when training is over. Polls for Ctrl-C, after which the
  // object can only be destroyed.
  bool run(std::int64_t merges);

  std::int64_t vocab_size() const { return options_.vocab_size; }
  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::vector<Merge>& merges() const { return merges_; }
  // Symbols in all words, each times its count: at the start, then after each merge.
  const std::vector<std::int64_t>& token_counts() const { return token_counts_; }

 private:
  // What one merge did beside one neighbouring symbol.
  struct Neighbour {
    std::int64_t count = 0;
    std::uint32_t n_places = 0;
    std::uint32_t last_place = 0;
  };
  struct Hit {
    std::uint32_t symbol;
    std::uint32_t place;
  };
  struct Side {
    std::vector<Neighbour> by_symbol;
    std::vector<std::uint32_t> touched;
    std::vector<Hit> hits;
    void note(std::uint32_t symbol, std::int64_t count, std::uint32_t place);
    // Takes over what a later part of the places has noted, but for its hits.
    void absorb(Side& later);
    void clear();
  };
  struct LongWord {
    std::uint32_t begin;
    std::uint32_t end;
    std::int64_t count;
  };
  // Some of the places of a merge, and what merging there has changed.
  struct Part {
    const std::uint32_t* begin = nullptr;
    const std::uint32_t* end = nullptr;
    const LongWord* word = nullptr;  // the last one met
    Side before;
    Side after;
    std::int64_t removed = 0;  // symbols, each times its word's count
  };
  struct Rule {
    std::uint32_t left;
    std::uint32_t right;
    std::uint32_t id;
  };
  // A place with this bit is a node of a long word, without it the first cell of a short one.
  static constexpr std::uint32_t kLong = 0x80000000u;
  static constexpr std::uint32_t kNone = 0xffffffffu;
  static constexpr std::size_t kHeader = 3;      // cells of a short word before its symbols
  static constexpr std::size_t kMark = 1 << 12;  // short words between two marks

  static std::int64_t count_of(const std::uint32_t* word) {
    std::int64_t count;
    std::memcpy(&count, word + 1, sizeof count);
    return count;
  }
  template <class Visit>
  void for_each_short_pair(std::size_t first_mark, std::size_t last_mark, Visit visit) const;
  template <class Visit>
  void for_each_long_pair(Visit visit) const;
  void index_pairs();
  void apply(std::uint32_t record, std::uint32_t id);
  void merge_places(const PairRecord& merged, std::uint32_t id);
  const std::uint32_t* end_of_word(const PairRecord& merged, std::size_t at) const;
  void merge_part(const Rule& rule, Part& part);
  void merge_short(std::uint32_t place, const Rule& rule, Part& part);
  void merge_linked(std::uint32_t node, const Rule& rule, Part& part);
  const LongWord* word_of(std::uint32_t node) const;
  void register_pairs(Side Part::*which, bool new_on_right, std::uint32_t id);
  void discount_pairs(const Side& side, bool merged_on_right, std::uint32_t symbol);
  void push_candidates();
  std::uint32_t intern(std::uint32_t left, std::uint32_t right);

  TrainerOptions options_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::uint32_t> ids_;
  std::vector<Merge> merges_;
  std::vector<std::int64_t> token_counts_;
  std::int64_t total_ = 0;
  bool started_ = false;
  int threads_ = 1;

  // A short word: its length, its count in two halves, its symbols.
  std::vector<std::uint32_t> cells_;
  std::size_t n_short_words_ = 0;
  std::vector<std::uint32_t> marks_;  // where every kMark-th begins
  // Long words, as lists over these three arrays.
  std::vector<std::uint32_t> symbol_;
  std::vector<std::uint32_t> previous_;
  std::vector<std::uint32_t> next_;
  std::vector<LongWord> long_words_;

  PairIndex pairs_;
  PlaceArena arena_;
  CandidateQueue queue_;
  SharingPace pace_;
  std::vector<Part> parts_;           // the first holds the sums of all in the end
  std::vector<std::uint32_t> fresh_;  // records that the merge in hand has made
};

}  // namespace tokfrag
