#include "tokens/byte_pair/token_extents.hpp"

#include <algorithm>
#include <atomic>

#include "core/interrupt.hpp"
#include "core/parallel.hpp"

namespace tokfrag {

namespace {

constexpr std::uint32_t kGoesOn = std::uint32_t{1} << 31;
constexpr std::int64_t kIdsAtOnce = 1 << 16;  // between two polls; a part of a long text

bool goes_on(std::uint8_t byte) { return (byte & 0xC0) == 0x80; }

// A table, and what of it is no id.
struct Extents {
  const std::uint32_t* of_id;
  std::size_t ids;
};

// Reads an id that other threads may be changing: once. One past the end reads as unknown.
std::uint32_t extent_of(const Extents& extents, const std::uint32_t* place) {
  const std::uint32_t id = __atomic_load_n(place, __ATOMIC_RELAXED);
  return __builtin_expect(id < extents.ids, 1) ? extents.of_id[id] : 0;
}

// Writes the spans of ids that begin at `at`; where the last ends, or -1.
std::int64_t write_from(const Extents& extents, const std::uint32_t* ids, std::int64_t count,
                        std::int64_t at, std::int64_t* spans) {
  bool unknown = false;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t extent = extent_of(extents, ids + i);
    unknown |= extent == 0;
    // What goes on with no character, because the text begins so, begins where the text does.
    const std::int64_t inside = extent >> 31 & static_cast<std::uint32_t>(at != 0);
    spans[2 * i] = at - inside;
    spans[2 * i + 1] = at += extent & ~kGoesOn;
  }
  return unknown ? -1 : at;
}

std::int64_t sum_of(const Extents& extents, const std::uint32_t* ids, std::int64_t count) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += extent_of(extents, ids + i) & ~kGoesOn;
  return sum;
}

bool write_in_turn(const Extents& extents, const std::uint32_t* ids, std::int64_t count,
                   std::int64_t* spans) {
  std::int64_t at = 0;
  for (std::int64_t begin = 0; begin < count && at >= 0; begin += kIdsAtOnce) {
    if (begin > 0) poll_interrupt();
    const std::int64_t some = std::min(kIdsAtOnce, count - begin);
    at = write_from(extents, ids + begin, some, at, spans + 2 * begin);
  }
  return at >= 0;
}

}  // namespace

TokenExtents::TokenExtents(const Decoder& decoder)
    : bytes_(static_cast<std::size_t>(decoder.id_count())), characters_(bytes_.size()) {
  for (std::size_t id = 0; id < bytes_.size(); ++id) {
    const std::uint8_t* bytes = nullptr;
    std::int64_t length = 0;
    if (!decoder.find(static_cast<std::int64_t>(id), &bytes, &length)) continue;
    const auto going_on = std::count_if(bytes, bytes + length, goes_on);
    bytes_[id] = static_cast<std::uint32_t>(length);
    characters_[id] =
        static_cast<std::uint32_t>(length - going_on) | (goes_on(bytes[0]) ? kGoesOn : 0);
  }
}

bool TokenExtents::write(const std::uint32_t* ids, std::int64_t count, Unit unit, int threads,
                         std::int64_t* spans) const {
  const Extents extents{table(unit).data(), table(unit).size()};
  if (threads == 0) threads = default_threads();
  if (threads == 1 || count < 2 * kIdsAtOnce) return write_in_turn(extents, ids, count, spans);
  const std::int64_t parts = (count + kIdsAtOnce - 1) / kIdsAtOnce;
  const auto length = [&](std::int64_t part) {
    return std::min(kIdsAtOnce, count - part * kIdsAtOnce);
  };
  std::vector<std::int64_t> begins(static_cast<std::size_t>(parts) + 1, 0);
  parallel_for(parts, 1, threads, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t part = begin; part < end; ++part) {
      begins[static_cast<std::size_t>(part) + 1] =
          sum_of(extents, ids + part * kIdsAtOnce, length(part));
    }
  });
  for (std::size_t part = 1; part < begins.size(); ++part) begins[part] += begins[part - 1];
  std::atomic<bool> known{true};
  parallel_for(parts, 1, threads, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t part = begin; part < end; ++part) {
      const std::int64_t from = part * kIdsAtOnce;
      const std::int64_t at = begins[static_cast<std::size_t>(part)];
      if (write_from(extents, ids + from, length(part), at, spans + 2 * from) < 0) {
        known.store(false);
      }
    }
  });
  return known.load();
}

bool TokenExtents::write_rows(const std::uint32_t* ids, std::int64_t held, const std::int64_t* rows,
                              std::int64_t count, Unit unit, int threads,
                              std::int64_t* spans) const {
  const Extents extents{table(unit).data(), table(unit).size()};
  const std::int64_t grain = count > 0 ? kIdsAtOnce / (held / count + 1) + 1 : 1;
  std::atomic<bool> sound{true};
  parallel_for(count, grain, threads, [&](std::int64_t begin, std::int64_t end, int) {
    std::int64_t to = rows[begin];
    for (std::int64_t row = begin; row < end; ++row) {
      // Each place is read once: the caller may be changing it.
      const std::int64_t from = to;
      to = __atomic_load_n(rows + row + 1, __ATOMIC_RELAXED);
      if (from < 0 || to < from || to > held ||
          !write_in_turn(extents, ids + from, to - from, spans + 2 * from)) {
        sound.store(false);
        return;
      }
    }
  });
  return sound.load() && rows[0] == 0 && rows[count] == held;
}

}  // namespace tokfrag
