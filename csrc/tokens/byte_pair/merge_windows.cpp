// Long pieces: merged in windows of 32 bytes side by side, then mended where the windows meet.
//
// Two neighbouring symbols agree if merging the bytes of both, by themselves, gives these two.
// Symbols of which all neighbours agree are what merging gives: take the first merge, if there were
// one, over the border of two of them. Until then what was merged in these two is what is merged in
// them alone, for the lowest rank of all, where it lies in the two, is the lowest in them; so they
// would not agree. This holds for any order of ranks. And parts of what merging gives agree.
//
// So a place where two windows meet is mended by merging the symbols around it: if the outermost
// come out as they were, they agree with those further out, as before.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/interrupt.hpp"
#include "tokens/byte_pair/merge.hpp"

namespace tokfrag {

// The symbols of a long text: each where it begins, and a bit there.
class Merger::Windows {
 public:
  Windows(const Merger& merger, const std::uint8_t* text, std::int64_t length,
          std::vector<std::uint32_t>* begins, std::uint32_t* ids)
      : merger_(merger),
        bytes_(merger.byte_tables()),
        pairs_(merger.pairs_->view()),
        text_(text),
        length_(length),
        begins_(*begins),
        ids_(ids),
        allowed_(2 * length) {
    begins_.assign(static_cast<std::size_t>((length + kWindow - 1) / kWindow), 0);
  }

  // Merges each window by itself.
  void fill() {
    std::vector<Part> parts;
    for (std::int64_t at = 0; at < length_; at += kWindow) {
      parts.push_back({at, std::min(at + kWindow, length_)});
      if (static_cast<int>(parts.size()) < kJobs && parts.back().end < length_) continue;
      merge(parts, [&](const Part& part, const ShortMerge& merged) { keep(part, merged); });
      parts.clear();
      poll();
    }
  }

  // Mends the places where windows meet; false if that goes too far.
  bool mend(MergeScratch* scratch) {
    std::vector<Part> parts;
    std::vector<std::int64_t> hard;
    const auto flush = [&] {
      merge(parts, [&](const Part& part, const ShortMerge& merged) {
        if (agrees(part, merged)) {
          keep(part, merged);
        } else {
          hard.push_back(part.place);
        }
      });
      parts.clear();
      poll();
    };
    for (std::int64_t place = kWindow; place < length_; place += kWindow) {
      Part part = around(place, kNear);
      // Parts that are merged side by side have nothing in common.
      if (!parts.empty() && part.begin < parts.back().end) {
        flush();
        part = around(place, kNear);
      }
      if (part.end - part.begin > kWindow) {
        hard.push_back(place);
        continue;
      }
      parts.push_back(part);
      if (static_cast<int>(parts.size()) == kJobs) flush();
    }
    flush();
    for (const std::int64_t place : hard) {
      if (!mend_far(place, scratch)) return false;
      poll();
    }
    return true;
  }

  // Closes the gaps between ids and returns how many there are.
  std::int64_t close() {
    std::int64_t count = 0;
    for (std::size_t window = 0; window < begins_.size(); ++window) {
      const std::uint32_t* const from = ids_ + window * kWindow;
      for (std::uint32_t left = begins_[window]; left != 0; left &= left - 1) {
        ids_[count++] = from[__builtin_ctz(left)];
      }
    }
    return count;
  }

 private:
  static constexpr std::int64_t kWindow = MergeJob::kMaxLength;
  static constexpr int kNear = 3;  // symbols on each side of a place
  static_assert(kWindow == 32);

  // Bytes that whole symbols cover, around a place.
  struct Part {
    std::int64_t begin;
    std::int64_t end;
    std::int64_t place = 0;
  };

  void poll() {
    if ((++polls_ & 0xFF) == 0) poll_interrupt();
  }

  bool is_begin(std::int64_t at) const {
    return (begins_[static_cast<std::size_t>(at / kWindow)] >> (at % kWindow) & 1) != 0;
  }
  // Where the symbol before, or after, the one that begins at `at` begins.
  std::int64_t previous(std::int64_t at) const {
    auto window = static_cast<std::size_t>(at / kWindow);
    std::uint32_t bits = begins_[window] & ((1u << at % kWindow) - 1);
    while (bits == 0) bits = begins_[--window];
    return static_cast<std::int64_t>(window) * kWindow + 31 - __builtin_clz(bits);
  }
  std::int64_t next(std::int64_t at) const {
    auto window = static_cast<std::size_t>(at / kWindow);
    std::uint32_t bits = begins_[window] & ~((2u << at % kWindow) - 1);
    while (bits == 0) {
      if (++window == begins_.size()) return length_;
      bits = begins_[window];
    }
    return static_cast<std::int64_t>(window) * kWindow + __builtin_ctz(bits);
  }
  Part around(std::int64_t place, int symbols) const {
    Part part{place, place, place};
    for (int i = 0; i < symbols && part.begin > 0; ++i) part.begin = previous(part.begin);
    for (int i = 0; i < symbols && part.end < length_; ++i) part.end = next(part.end);
    return part;
  }

  // Whether the outermost symbols of a part are what they were, if now the second begins, and the
  // last, at these places of the part.
  bool agrees(const Part& part, std::int64_t second, std::int64_t last) const {
    return (part.begin == 0 || next(part.begin) == part.begin + second) &&
           (part.end == length_ || previous(part.end) == part.begin + last);
  }
  bool agrees(const Part& part, const ShortMerge& merged) const {
    const std::uint32_t alive = merged.alive;
    const std::uint32_t others = alive & (alive - 1);
    return agrees(part, others != 0 ? __builtin_ctz(others) : part.end - part.begin,
                  31 - __builtin_clz(alive));
  }

  void begin(const Part& part, ShortMerge* word) const {
    short_merge_kernels().begin(bytes_, text_ + part.begin, static_cast<int>(part.end - part.begin),
                                word);
  }
  template <class Done>
  void merge(const std::vector<Part>& parts, Done done) const {
    ShortMerge words[kJobs];
    const auto count = static_cast<int>(parts.size());
    for (int i = 0; i < count; ++i) begin(parts[static_cast<std::size_t>(i)], words + i);
    short_merge_kernels().finish(pairs_, words, count);
    for (int i = 0; i < count; ++i) done(parts[static_cast<std::size_t>(i)], words[i]);
  }

  void clear(std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end;) {
      const std::int64_t stop = std::min(end, (at / kWindow + 1) * kWindow);
      const std::uint64_t bits = (std::uint64_t{1} << (stop - at)) - 1;
      begins_[static_cast<std::size_t>(at / kWindow)] &=
          ~static_cast<std::uint32_t>(bits << at % kWindow);
      at = stop;
    }
  }
  void put(std::int64_t at, Symbol symbol) {
    begins_[static_cast<std::size_t>(at / kWindow)] |= 1u << at % kWindow;
    ids_[at] = merger_.vocabulary_->id(symbol);
  }
  void keep(const Part& part, const ShortMerge& merged) {
    clear(part.begin, part.end);
    for (std::uint32_t left = merged.alive; left != 0; left &= left - 1) {
      const int place = __builtin_ctz(left);
      put(part.begin + place, merged.symbols[place]);
    }
  }

  // Merges more and more around a place, until the outermost agree.
  bool mend_far(std::int64_t place, MergeScratch* scratch) {
    if (!is_begin(place)) return true;  // merged together with another place
    for (int symbols = kNear;; symbols *= 2) {
      const Part part = around(place, symbols);
      allowed_ -= part.end - part.begin;
      if (allowed_ < 0) return false;
      if (part.end - part.begin <= kWindow) {
        ShortMerge merged;
        begin(part, &merged);
        short_merge_kernels().finish(pairs_, &merged, 1);
        if (!agrees(part, merged)) continue;
        keep(part, merged);
        return true;
      }
      merger_.merge_heap(text_ + part.begin, part.end - part.begin, scratch);
      const auto& nodes = scratch->nodes_;
      const std::int64_t first = nodes[0].next;
      std::int64_t last = 0;
      for (std::int64_t at = first; at < part.end - part.begin;) {
        last = at;
        at = nodes[static_cast<std::size_t>(at)].next;
      }
      if (!agrees(part, first, last)) continue;
      clear(part.begin, part.end);
      for (std::int64_t at = 0; at < part.end - part.begin;) {
        put(part.begin + at, nodes[static_cast<std::size_t>(at)].symbol);
        at = nodes[static_cast<std::size_t>(at)].next;
      }
      return true;
    }
  }

  const Merger& merger_;
  ByteTables bytes_;
  PairView pairs_;
  const std::uint8_t* text_;
  std::int64_t length_;
  std::vector<std::uint32_t>& begins_;
  std::uint32_t* ids_;
  std::int64_t allowed_;  // bytes to be merged yet before the heap is to take the whole
  std::uint32_t polls_ = 0;
};

// 0 where what has to be mended goes too far.
std::int64_t Merger::merge_windows(const std::uint8_t* text, std::int64_t length,
                                   MergeScratch* scratch, std::uint32_t* ids) const {
  Windows windows(*this, text, length, &scratch->begins_, ids);
  windows.fill();
  return windows.mend(scratch) ? windows.close() : 0;
}

}  // namespace tokfrag
