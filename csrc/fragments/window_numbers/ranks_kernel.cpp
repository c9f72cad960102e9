#include "fragments/window_numbers/ranks.hpp"

#include <limits>

#include "fragments/features/extremes.hpp"
#include "fragments/features/steps.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

constexpr int kInRegisters = static_cast<int>(kSortedAtOnce);

// The smaller ones into a.
TOKFRAG_INLINE void order(Doubles& a, Doubles& b) {
  const Doubles low = nearer<false>(b, a);
  b = nearer<true>(b, a);
  a = low;
}

// Eight steps, by the 19 comparisons that are known to be enough.
TOKFRAG_INLINE void sort_eight(Doubles* v) {
  constexpr int kPairs[19][2] = {{0, 2}, {1, 3}, {4, 6}, {5, 7}, {0, 4}, {1, 5}, {2, 6},
                                 {3, 7}, {0, 1}, {2, 3}, {4, 5}, {6, 7}, {2, 4}, {3, 5},
                                 {1, 4}, {3, 6}, {1, 2}, {3, 4}, {5, 6}};
  Doubles held[kInRegisters];
  unrolled<kInRegisters>([&](auto i) { held[i] = v[i]; });
  unrolled<19>([&](auto p) { order(held[kPairs[p][0]], held[kPairs[p][1]]); });
  unrolled<kInRegisters>([&](auto i) { v[i] = held[i]; });
}

// Eight steps that rise and then fall, or fall and then rise.
TOKFRAG_INLINE void clean_eight(Doubles* v) {
  Doubles held[kInRegisters];
  unrolled<kInRegisters>([&](auto i) { held[i] = v[i]; });
  unrolled<4>([&](auto i) { order(held[i], held[i + 4]); });
  unrolled<4>([&](auto i) {
    constexpr int at = i / 2 * 4 + i % 2;
    order(held[at], held[at + 2]);
  });
  unrolled<4>([&](auto i) { order(held[2 * i], held[2 * i + 1]); });
  unrolled<kInRegisters>([&](auto i) { v[i] = held[i]; });
}

// Runs of `run` steps that are in order, by twos.
void merge_runs(Doubles* v, std::int64_t steps, std::int64_t run) {
  for (std::int64_t begin = 0; begin < steps; begin += 2 * run) {
    Doubles* back = v + begin + 2 * run - 1;
    for (std::int64_t i = 0; i < run; ++i) order(v[begin + i], back[-i]);
  }
  for (std::int64_t apart = run / 2; apart >= kInRegisters; apart /= 2) {
    for (std::int64_t begin = 0; begin < steps; begin += 2 * apart) {
      Doubles* from = v + begin;
      for (std::int64_t i = 0; i < apart; ++i) order(from[i], from[i + apart]);
    }
  }
  for (std::int64_t begin = 0; begin < steps; begin += kInRegisters) clean_eight(v + begin);
}

class RankFinder {
 public:
  explicit RankFinder(const RankTask& task)
      : task_(task), steps_(sorted_steps(task.length)), apart_(rank_apart(task.blocks)) {
    find_runs(task.each, runs_);
    unordered_ = task.room;
    levels_ = unordered_ + apart_;
    const std::int64_t most = steps_ << runs_.first;
    work_ = reinterpret_cast<Doubles*>(task.room + (2 * most + 1) * apart_);
  }

  void run() {
    for (std::int64_t b = 0; b < task_.blocks; b += kLanes) sort_blocks(b);
    for (int level = 0; level < runs_.first; ++level) {
      const std::int64_t last = task_.blocks - (std::int64_t{2} << level);
      for (std::int64_t b = 0; b <= last; b += kLanes) merge_level(level, b);
    }
    for (std::int64_t w = 0; w < task_.windows; w += kLanes) find(w);
  }

 private:
  // Step i of the runs of 2^level blocks from block b on; runs of the levels lie one after another.
  double* at(int level, std::int64_t i, std::int64_t b) const {
    return levels_ + (((std::int64_t{1} << level) - 1) * steps_ + i) * apart_ + b;
  }

  void sort_blocks(std::int64_t b) {
    const std::int64_t most = task_.blocks - 1;
    const double* from[kLanes];
    for (int k = 0; k < kLanes; ++k) from[k] = task_.y + task_.begins[b + k < most ? b + k : most];
    const auto place = [&](int k) { return from[k]; };
    for (std::int64_t t = 0; t < task_.length; t += kAtOnce<double>) {
      load_steps(place, t, work_ + t);
    }
    Doubles unordered = {};
    for (std::int64_t t = 0; t < task_.length; ++t) {
      unordered = work_[t] != work_[t] ? work_[t] : unordered;
    }
    for (std::int64_t t = task_.length; t < steps_; ++t) {
      work_[t] = splat(std::numeric_limits<double>::infinity());
    }
    for (std::int64_t t = 0; t < steps_; t += kInRegisters) sort_eight(work_ + t);
    for (std::int64_t run = kInRegisters; run < steps_; run *= 2) merge_runs(work_, steps_, run);
    store(unordered_ + b, unordered);
    for (std::int64_t t = 0; t < task_.length; ++t) store(at(0, t, b), work_[t]);
  }

  // What is past the values of two runs is infinite, and stays behind them.
  void merge_level(int level, std::int64_t b) {
    const std::int64_t half = steps_ << level;
    const std::int64_t held = task_.length << level;
    const std::int64_t next = b + (std::int64_t{1} << level);
    for (std::int64_t i = 0; i < half; ++i) {
      const Doubles infinite = splat(std::numeric_limits<double>::infinity());
      work_[i] = i < held ? load(at(level, i, b)) : infinite;
      work_[half + i] = i < held ? load(at(level, i, next)) : infinite;
    }
    merge_runs(work_, 2 * half, half);
    for (std::int64_t i = 0; i < 2 * held; ++i) store(at(level + 1, i, b), work_[i]);
  }

  void find(std::int64_t w) const {
    Doubles unordered = load(unordered_ + w);
    for (std::int64_t b = 1; b < task_.each; ++b) unordered += load(unordered_ + w + b);
    const Doubles nan = splat(std::numeric_limits<double>::quiet_NaN());
    for (std::int64_t k = 0; k < task_.rank_count; ++k) {
      const Doubles value = value_of(w, task_.ranks[k]);
      store(task_.values + k * (task_.windows + kRankSlack) + w,
            unordered == unordered ? value : nan);
    }
  }

  Doubles value_of(std::int64_t w, std::int64_t rank) const {
    const double* first = at(runs_.first, 0, w);
    if (runs_.second < 0) return load(first + rank * apart_);
    const double* second = at(runs_.second, 0, w + (std::int64_t{1} << runs_.first));
    const std::int64_t firsts = task_.length << runs_.first;
    const std::int64_t seconds = task_.length << runs_.second;
    // `i` values of the first run, and rank + 1 - i of the second.
    const auto both = [&](std::int64_t i) __attribute__((always_inline)) {
      return nearer<true>(load(first + (i - 1) * apart_), load(second + (rank - i) * apart_));
    };
    Doubles best[2];
    best[0] = best[1] = splat(std::numeric_limits<double>::infinity());
    if (rank < seconds) best[0] = load(second + rank * apart_);
    if (rank < firsts) best[1] = load(first + rank * apart_);
    std::int64_t i = rank + 1 - seconds > 1 ? rank + 1 - seconds : 1;
    const std::int64_t end = rank < firsts ? rank : firsts;
    for (; i + 1 <= end; i += 2) {
      best[0] = nearer<false>(both(i), best[0]);
      best[1] = nearer<false>(both(i + 1), best[1]);
    }
    if (i <= end) best[0] = nearer<false>(both(i), best[0]);
    return nearer<false>(best[1], best[0]);
  }

  const RankTask& task_;
  const std::int64_t steps_;
  const std::int64_t apart_;
  RankRuns runs_ = {};
  double* unordered_;  // NaN of blocks that hold one, else zero
  double* levels_;
  Doubles* work_;
};

void find(const RankTask& task) { RankFinder(task).run(); }

}  // namespace

extern const RankKernels rank_kernel_table;
const RankKernels rank_kernel_table = {find};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
