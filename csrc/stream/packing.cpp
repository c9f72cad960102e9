#include "stream/packing.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "core/interrupt.hpp"
#include "core/parallel.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kPollEvery = 1 << 14;
constexpr std::int64_t kNone = -1;

// The numbers in [0, size) that are members, with the least member from a number on.
class NumberSet {
 public:
  explicit NumberSet(std::int64_t size) {
    for (std::int64_t bits = size; bits > 1 || levels_.empty(); bits = (bits + 63) / 64) {
      levels_.emplace_back(static_cast<std::size_t>((bits + 63) / 64), 0);
    }
  }

  void insert(std::int64_t number) {
    for (auto& level : levels_) {
      std::uint64_t& word = level[static_cast<std::size_t>(number / 64)];
      const bool known = word != 0;
      word |= std::uint64_t{1} << (number % 64);
      if (known) return;
      number /= 64;
    }
  }

  void erase(std::int64_t number) {
    for (auto& level : levels_) {
      std::uint64_t& word = level[static_cast<std::size_t>(number / 64)];
      word &= ~(std::uint64_t{1} << (number % 64));
      if (word != 0) return;
      number /= 64;
    }
  }

  // kNone if there is none.
  std::int64_t first_from(std::int64_t number) const {
    std::size_t height = 0;
    while (height < levels_.size()) {
      const auto& level = levels_[height];
      const auto place = static_cast<std::size_t>(number / 64);
      if (place < level.size()) {
        const std::uint64_t later = level[place] & (~std::uint64_t{0} << (number % 64));
        if (later != 0) {
          number = number / 64 * 64 + __builtin_ctzll(later);
          return descend(height, number);
        }
      }
      number = number / 64 + 1;  // nothing left in this word: the next one, a level up
      ++height;
    }
    return kNone;
  }

 private:
  std::int64_t descend(std::size_t height, std::int64_t number) const {
    while (height-- > 0) {
      number = number * 64 + __builtin_ctzll(levels_[height][static_cast<std::size_t>(number)]);
    }
    return number;
  }

  std::vector<std::vector<std::uint64_t>> levels_;
};

// Documents from the longest down, ties in their own order; empty ones left out.
std::vector<std::int64_t> longest_first(const std::int64_t* lengths, std::int64_t count,
                                        std::int64_t length) {
  std::vector<std::int64_t> begin(static_cast<std::size_t>(length) + 1, 0);
  for (std::int64_t i = 0; i < count; ++i) {
    if (lengths[i] > 0) ++begin[static_cast<std::size_t>(length - lengths[i])];
  }
  std::int64_t total = 0;
  for (auto& entry : begin) total += std::exchange(entry, total);
  std::vector<std::int64_t> order(static_cast<std::size_t>(total));
  for (std::int64_t i = 0; i < count; ++i) {
    if (lengths[i] == 0) continue;
    order[static_cast<std::size_t>(begin[static_cast<std::size_t>(length - lengths[i])]++)] = i;
  }
  return order;
}

// Rows with equal room wait in the order of their numbers: a row joins a list as its room shrinks,
// so the list is kept sorted by a heap.
std::int64_t best_fit(const std::vector<std::int64_t>& order, const std::int64_t* lengths,
                      std::int64_t length, std::int64_t* row_of) {
  NumberSet rooms(length + 1);
  std::vector<std::vector<std::int64_t>> waiting(static_cast<std::size_t>(length) + 1);
  std::int64_t rows = 0;
  std::int64_t step = 0;
  for (const std::int64_t document : order) {
    if (++step % kPollEvery == 0) poll_interrupt();
    const std::int64_t size = lengths[document];
    std::int64_t room = rooms.first_from(size);
    std::int64_t row = rows;
    if (room == kNone) {
      room = length;
      ++rows;
    } else {
      auto& heap = waiting[static_cast<std::size_t>(room)];
      std::pop_heap(heap.begin(), heap.end(), std::greater<>());
      row = heap.back();
      heap.pop_back();
      if (heap.empty()) rooms.erase(room);
    }
    row_of[document] = row;
    const std::int64_t left = room - size;
    if (left == 0) continue;
    auto& heap = waiting[static_cast<std::size_t>(left)];
    if (heap.empty()) rooms.insert(left);
    heap.push_back(row);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  }
  return rows;
}

// A tree over the rows: each node knows the most room below it.
std::int64_t first_fit(const std::vector<std::int64_t>& order, const std::int64_t* lengths,
                       std::int64_t length, std::int64_t* row_of) {
  std::size_t leaves = 1;
  while (leaves < order.size()) leaves *= 2;
  std::vector<std::int64_t> room(2 * leaves, length);
  std::int64_t rows = 0;
  std::int64_t step = 0;
  for (const std::int64_t document : order) {
    if (++step % kPollEvery == 0) poll_interrupt();
    const std::int64_t size = lengths[document];
    std::size_t node = 1;
    while (node < leaves) {
      node *= 2;
      if (room[node] < size) ++node;
    }
    const auto row = static_cast<std::int64_t>(node - leaves);
    rows = std::max(rows, row + 1);
    row_of[document] = row;
    room[node] -= size;
    while (node > 1) {
      node /= 2;
      room[node] = std::max(room[2 * node], room[2 * node + 1]);
    }
  }
  return rows;
}

// The generator of SplitMix64, whose numbers are the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t below(std::uint64_t bound) {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % bound;
  }

 private:
  std::uint64_t state_;
};

std::vector<std::int64_t> shuffled_rows(std::int64_t rows, std::uint64_t seed) {
  std::vector<std::int64_t> place(static_cast<std::size_t>(rows));
  std::iota(place.begin(), place.end(), std::int64_t{0});
  Random random(seed);
  for (std::int64_t i = rows - 1; i > 0; --i) {
    const auto other = static_cast<std::size_t>(random.below(static_cast<std::uint64_t>(i) + 1));
    std::swap(place[static_cast<std::size_t>(i)], place[other]);
  }
  return place;
}

PackPlan plan_whole(const std::int64_t* lengths, std::int64_t count, std::int64_t length,
                    PackMethod method, std::uint64_t seed) {
  const std::vector<std::int64_t> order = longest_first(lengths, count, length);
  std::vector<std::int64_t> row_of(static_cast<std::size_t>(count), kNone);
  const std::int64_t rows = method == PackMethod::kBestFit
                                ? best_fit(order, lengths, length, row_of.data())
                                : first_fit(order, lengths, length, row_of.data());
  const std::vector<std::int64_t> place = shuffled_rows(rows, seed);
  PackPlan plan;
  plan.row_begin.assign(static_cast<std::size_t>(rows) + 1, 0);
  for (std::int64_t i = 0; i < count; ++i) {
    auto& row = row_of[static_cast<std::size_t>(i)];
    if (row == kNone) continue;
    row = place[static_cast<std::size_t>(row)];
    ++plan.row_begin[static_cast<std::size_t>(row) + 1];
  }
  std::partial_sum(plan.row_begin.begin(), plan.row_begin.end(), plan.row_begin.begin());
  std::vector<std::int64_t> next(plan.row_begin.begin(), plan.row_begin.end() - 1);
  plan.document.resize(order.size());
  plan.begin.assign(order.size(), 0);
  plan.length.resize(order.size());
  for (std::int64_t i = 0; i < count; ++i) {  // in order, so pieces of a row are too
    const std::int64_t row = row_of[static_cast<std::size_t>(i)];
    if (row == kNone) continue;
    const auto piece = static_cast<std::size_t>(next[static_cast<std::size_t>(row)]++);
    plan.document[piece] = i;
    plan.length[piece] = lengths[i];
  }
  return plan;
}

PackPlan plan_in_order(const std::int64_t* lengths, std::int64_t count, std::int64_t length) {
  PackPlan plan;
  plan.row_begin.push_back(0);
  std::int64_t room = length;
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t done = 0; done < lengths[i];) {
      if (static_cast<std::int64_t>(plan.document.size()) % kPollEvery == 0) poll_interrupt();
      const std::int64_t taken = std::min(room, lengths[i] - done);
      plan.document.push_back(i);
      plan.begin.push_back(done);
      plan.length.push_back(taken);
      done += taken;
      room -= taken;
      if (room == 0) {
        plan.row_begin.push_back(static_cast<std::int64_t>(plan.document.size()));
        room = length;
      }
    }
  }
  if (room < length) plan.row_begin.push_back(static_cast<std::int64_t>(plan.document.size()));
  return plan;
}

template <class From, class To>
void copy_ids(const void* from, std::int64_t first, std::int64_t count, To* to) {
  const From* ids = static_cast<const From*>(from) + first;
  for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<To>(ids[i]);
}

template <class To>
void fill_row(const PackTask& task, std::int64_t row) {
  const PackPlan& plan = *task.plan;
  To* at = static_cast<To*>(task.out) + row * task.length;
  To* const end = at + task.length;
  const auto r = static_cast<std::size_t>(row);
  for (std::int64_t p = plan.row_begin[r]; p < plan.row_begin[r + 1]; ++p) {
    const auto piece = static_cast<std::size_t>(p);
    const std::int64_t first = task.offsets[plan.document[piece]] + plan.begin[piece];
    const std::int64_t count = plan.length[piece];
    switch (task.type) {
      case IdType::kUint16:
        copy_ids<std::uint16_t>(task.values, first, count, at);
        break;
      case IdType::kUint32:
        copy_ids<std::uint32_t>(task.values, first, count, at);
        break;
      case IdType::kInt32:
        copy_ids<std::int32_t>(task.values, first, count, at);
        break;
      case IdType::kInt64:
        copy_ids<std::int64_t>(task.values, first, count, at);
        break;
    }
    at += count;
  }
  std::fill(at, end, static_cast<To>(task.pad));
}

std::int64_t rows_of(const PackPlan& plan) {
  return static_cast<std::int64_t>(plan.row_begin.size()) - 1;
}

// Rows worth a thread of their own: about 100,000 places.
std::int64_t grain(std::int64_t length) {
  return std::max<std::int64_t>(1, 100000 / std::max<std::int64_t>(1, length));
}

}  // namespace

PackPlan plan_packing(const std::int64_t* lengths, std::int64_t count, std::int64_t length,
                      PackMethod method, std::uint64_t seed) {
  return method == PackMethod::kInOrder ? plan_in_order(lengths, count, length)
                                        : plan_whole(lengths, count, length, method, seed);
}

void fill_rows(const PackTask& task, int threads) {
  parallel_for(rows_of(*task.plan), grain(task.length), threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   if (task.out_type == IdType::kInt32) {
                     fill_row<std::int32_t>(task, row);
                   } else {
                     fill_row<std::int64_t>(task, row);
                   }
                 }
               });
}

void fill_places(const PackPlan& plan, std::int64_t length, std::int64_t* positions,
                 std::int32_t* documents, bool* kept, int threads) {
  parallel_for(rows_of(plan), grain(length), threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   std::int64_t at = row * length;
                   const auto r = static_cast<std::size_t>(row);
                   const auto segment = [&](std::int64_t count, std::int32_t document) {
                     std::iota(positions + at, positions + at + count, std::int64_t{0});
                     std::fill_n(documents + at, count, document);
                     std::fill_n(kept + at, count, document >= 0);
                     at += count;
                   };
                   for (std::int64_t p = plan.row_begin[r]; p < plan.row_begin[r + 1]; ++p) {
                     const auto piece = static_cast<std::size_t>(p);
                     segment(plan.length[piece], static_cast<std::int32_t>(plan.document[piece]));
                   }
                   segment((row + 1) * length - at, -1);
                 }
               });
}

}  // namespace tokfrag
