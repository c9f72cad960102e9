#include "tokens/unigram/unigram.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/interrupt.hpp"
#include "tokens/byte_pair/character_merges.hpp"
#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

constexpr std::uint32_t kUnknown = 0xFFFFFFFFu;  // in a path: a character that is no token

// Sums of at most 2^20 scores of at most 128 are below 2^27; rounded to float64 at each of at most
// 256 steps, each is off by less than 256 * 2^-27, two by twice that.
constexpr double kLargestScore = 128;
constexpr std::int64_t kLongestPart = 256;
constexpr double kClose = 256.0 / (1 << 26);

template <bool kSingle>
double rounded(double score) {
  return kSingle ? static_cast<double>(static_cast<float>(score)) : score;
}

}  // namespace

Unigram::Unigram(const std::vector<std::string>& tokens, const std::vector<double>& scores,
                 std::vector<std::uint32_t> ids, UnigramOptions options)
    : trie_(tokens, scores), ids_(std::move(ids)), options_(std::move(options)) {
  double largest = std::abs(options_.unknown_score);
  for (const double score : scores) largest = std::max(largest, std::abs(score));
  for (const std::string& token : tokens) {
    longest_ = std::max(longest_, static_cast<std::int64_t>(token.size()));
  }
  takes_parts_ = !options_.single_precision && largest <= kLargestScore;
}

// Extends the best path that ends at `at` by everything that begins there; returns how far.
template <bool kSingle>
std::int64_t Unigram::extend(const std::uint8_t* text, std::int64_t length, std::int64_t at,
                             PathNode* path) const {
  const double here = path[at].score;
  const std::int64_t single = decode_utf8(text, length, at).length;
  bool has_single = false;
  std::int64_t reach = 0;
  const auto offer = [&](std::int64_t end, double score, std::uint32_t token) {
    PathNode& target = path[end];
    if (target.length == 0 || score > target.score) {
      target = {score, token, static_cast<std::uint32_t>(end - at)};
    }
    reach = std::max(reach, end);
  };
  std::uint32_t node = ByteTrie::kRoot;
  for (std::int64_t end = at; end < length;) {
    node = trie_.child(node, text[end]);
    if (node == ByteTrie::kNoNode) break;
    ++end;
    const double score = trie_.score(node);
    if (score == ByteTrie::kNoScore) continue;
    has_single |= end - at == single;
    offer(end, rounded<kSingle>(here + score), node);
  }
  if (!has_single) offer(at + single, rounded<kSingle>(here + options_.unknown_score), kUnknown);
  return reach;
}

// The tokens of the best path that ends at `end`.
std::vector<Unigram::Step> Unigram::steps_to(std::int64_t end, const PathNode* path) const {
  std::vector<Step> steps;
  while (end > 0) {
    const PathNode& node = path[end];
    const std::int64_t begin = end - node.length;
    const bool spelled = node.token != kUnknown;
    steps.push_back(
        {begin, end, spelled ? ids_[trie_.key(node.token)] : options_.unknown, spelled});
    end = begin;
  }
  std::reverse(steps.begin(), steps.end());
  return steps;
}

// Calls emit(id, begin, end) for the tokens of a path: runs of unknown characters become one token,
// or the tokens of their bytes.
template <class Emit>
void Unigram::resolve(const std::uint8_t* text, const std::vector<Step>& steps, Emit emit) const {
  for (std::size_t i = 0; i < steps.size();) {
    if (steps[i].id != options_.unknown) {
      emit(steps[i].id, steps[i].begin, steps[i].end);
      ++i;
      continue;
    }
    const std::size_t first = i;
    while (i < steps.size() && steps[i].id == options_.unknown) ++i;
    const std::int64_t begin = steps[first].begin;
    const std::int64_t end = steps[i - 1].end;
    // The unknown token spelled out in a text is itself, not its bytes.
    bool by_bytes = !options_.bytes.empty() && !(i == first + 1 && steps[first].spelled);
    for (std::int64_t at = begin; by_bytes && at < end; ++at) {
      by_bytes = options_.bytes[text[at]] != kNoId;
    }
    if (!by_bytes) {
      emit(options_.unknown, begin, end);
      continue;
    }
    for (std::int64_t at = begin; at < end; ++at) emit(options_.bytes[text[at]], begin, end);
  }
}

// The best path of a text of any length, told in stretches: where no token reaches over a place,
// what comes before it is settled.
template <bool kSingle>
void Unigram::best_path(const std::uint8_t* text, std::int64_t length, Worker& worker,
                        TokenBuffer* ids, std::vector<Span>* spans) const {
  constexpr std::int64_t kSettle = 1 << 12;
  auto& path = worker.path;
  path.assign(static_cast<std::size_t>(std::min(length, 2 * kSettle) + longest_ + 1), PathNode{});
  std::int64_t base = 0;
  std::int64_t at = 0;
  std::int64_t reach = 0;
  const auto settle = [&] {
    resolve(text + base, steps_to(at, path.data()),
            [&](std::uint32_t id, std::int64_t begin, std::int64_t end) {
              ids->push(id);
              if (spans != nullptr) spans->push_back({base + begin, base + end});
            });
  };
  const auto ends_unknown = [&] {
    const std::uint32_t token = path[static_cast<std::size_t>(at)].token;
    return token == kUnknown || ids_[trie_.key(token)] == options_.unknown;
  };
  while (base + at < length) {
    if (at >= kSettle && at == reach && !ends_unknown()) {
      settle();
      const double score = path[static_cast<std::size_t>(at)].score;
      std::fill(path.begin(), path.begin() + at + 1, PathNode{});
      path[0].score = score;
      base += at;
      at = reach = 0;
      poll_interrupt();
    }
    if (at + longest_ >= static_cast<std::int64_t>(path.size())) {
      path.resize(path.size() * 2);
      poll_interrupt();
    }
    reach = std::max(reach, extend<kSingle>(text + base, length - base, at, path.data()));
    at += decode_utf8(text + base, length - base, at).length;
  }
  settle();
  constexpr std::size_t kKeep = 1 << 16;  // nodes, from one text to the next
  if (path.size() > kKeep) std::vector<PathNode>().swap(path);
}

// A part of a piece begins at another sum than zero, and rounding could decide otherwise there: but
// only where two ways are as good, and then the piece is encoded whole.
std::int64_t Unigram::encode_part(const std::uint8_t* text, std::int64_t length, Worker& worker,
                                  std::uint32_t* ids) const {
  auto& path = worker.path;
  path.assign(static_cast<std::size_t>(length + longest_ + 1), PathNode{});
  for (std::int64_t at = 0; at < length; at += decode_utf8(text, length, at).length) {
    extend<false>(text, length, at, path.data());
  }
  const std::vector<Step> steps = steps_to(length, path.data());
  // Unknown characters join those of the parts beside.
  if (steps.front().id == options_.unknown || steps.back().id == options_.unknown) {
    return kWholePiece;
  }
  for (const Step& step : steps) {
    const double best = path[static_cast<std::size_t>(step.end)].score;
    for (std::int64_t begin = std::max<std::int64_t>(0, step.end - longest_); begin < step.end;
         ++begin) {
      const PathNode& before = path[static_cast<std::size_t>(begin)];
      if (begin == step.begin || (begin > 0 && before.length == 0)) continue;
      std::uint32_t node = ByteTrie::kRoot;
      for (std::int64_t i = begin; i < step.end && node != ByteTrie::kNoNode; ++i) {
        node = trie_.child(node, text[i]);
      }
      double score = node != ByteTrie::kNoNode ? trie_.score(node) : ByteTrie::kNoScore;
      if (score == ByteTrie::kNoScore &&
          begin + decode_utf8(text, length, begin).length == step.end) {
        score = options_.unknown_score;
      }
      if (before.score + score > best - kClose) return kWholePiece;
    }
  }
  std::int64_t count = 0;
  resolve(text, steps, [&](std::uint32_t id, std::int64_t, std::int64_t) { ids[count++] = id; });
  return count;
}

std::int64_t Unigram::encode_word(const Encoder&, const std::uint8_t* text, std::int64_t length,
                                  bool part, Worker& worker, std::uint32_t* ids) const {
  if (part && length <= kLongestPart) return encode_part(text, length, worker, ids);
  if (part) return kWholePiece;
  TokenBuffer found;
  if (options_.single_precision) {
    best_path<true>(text, length, worker, &found, nullptr);
  } else {
    best_path<false>(text, length, worker, &found, nullptr);
  }
  std::copy(found.data(), found.data() + found.size(), ids);
  return found.size();
}

void Unigram::encode_piece(const Encoder&, const std::uint8_t* text, std::int64_t length,
                           Worker& worker, TokenBuffer* ids, std::vector<Span>* spans) const {
  if (options_.single_precision) {
    best_path<true>(text, length, worker, ids, spans);
  } else {
    best_path<false>(text, length, worker, ids, spans);
  }
}

}  // namespace tokfrag
