#include "tokens/text/unicode_form.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

// Hangul syllables are numbers of three digits: a lead, a vowel and perhaps a tail (UAX 15).
constexpr std::uint32_t kLead = 0x1100;
constexpr std::uint32_t kVowel = 0x1161;
constexpr std::uint32_t kTail = 0x11A7;
constexpr std::uint32_t kSyllable = 0xAC00;
constexpr std::uint32_t kLeads = 19;
constexpr std::uint32_t kVowels = 21;
constexpr std::uint32_t kTails = 28;
constexpr std::uint32_t kSyllables = kLeads * kVowels * kTails;

bool is_in(std::uint32_t point, std::uint32_t first, std::uint32_t count) {
  return point - first < count;
}

std::uint64_t key_of(std::uint32_t first, std::uint32_t second) {
  return std::uint64_t{first} << 32 | second;
}

void put(std::uint32_t point, std::string* out) {
  const auto tail = [&](int shift) {
    out->push_back(static_cast<char>(0x80 | (point >> shift & 0x3F)));
  };
  if (point < 0x80) {
    out->push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    out->push_back(static_cast<char>(0xC0 | point >> 6));
    tail(0);
  } else if (point < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | point >> 12));
    tail(6);
    tail(0);
  } else {
    out->push_back(static_cast<char>(0xF0 | point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace

UnicodeForm::UnicodeForm(FormTables tables)
    : apart_(std::move(tables.apart)), composes_(tables.composes) {
  const auto turns = [&](std::uint32_t point) {
    if (point >= 0x110000) {
      throw std::invalid_argument("classes, pairs: take points up to U+10FFFF");
    }
    turning_.add(point);
  };
  for (const auto& [point, order] : tables.classes) {
    orders_.emplace(point, order);
    turns(point);
  }
  for (const auto& pair : tables.pairs) {
    if (pair.size() != 3) throw std::invalid_argument("pairs: takes three points each");
    pairs_.emplace(key_of(pair[0], pair[1]), pair[2]);
    turns(pair[1]);
  }
  for (const auto& [point, written] : apart_.rules()) {
    // One that is put together again as it was, is as it should be by itself.
    std::string whole;
    if (composes_) {
      std::string own;
      put(point, &own);
      normalize(reinterpret_cast<const std::uint8_t*>(own.data()),
                static_cast<std::int64_t>(own.size()), &whole);
      if (whole == own) continue;
    }
    turning_.add(point);
  }
  if (composes_) {
    for (std::uint32_t i = 0; i < kVowels; ++i) turning_.add(kVowel + i);
    for (std::uint32_t i = 1; i < kTails; ++i) turning_.add(kTail + i);
  } else {
    for (std::uint32_t i = 0; i < kSyllables; ++i) turning_.add(kSyllable + i);
  }
}

std::uint8_t UnicodeForm::order_of(std::uint32_t point) const {
  const auto found = orders_.find(point);
  return found == orders_.end() ? std::uint8_t{0} : found->second;
}

std::uint32_t UnicodeForm::together(std::uint32_t first, std::uint32_t second) const {
  if (is_in(first, kLead, kLeads) && is_in(second, kVowel, kVowels)) {
    return kSyllable + ((first - kLead) * kVowels + second - kVowel) * kTails;
  }
  if (is_in(first, kSyllable, kSyllables) && (first - kSyllable) % kTails == 0 &&
      is_in(second, kTail + 1, kTails - 1)) {
    return first + second - kTail;
  }
  const auto found = pairs_.find(key_of(first, second));
  return found == pairs_.end() ? 0 : found->second;
}

// Appends a text in the form.
void UnicodeForm::normalize(const std::uint8_t* text, std::int64_t size, std::string* out) const {
  std::vector<Mark> marks;
  std::size_t behind = 0;  // the first of the marks behind a character without a class
  // Not one by one: a text may put any number of marks on a character.
  const auto put_in_order = [&] {
    std::stable_sort(marks.begin() + static_cast<std::ptrdiff_t>(behind), marks.end(),
                     [](const Mark& a, const Mark& b) { return a.order < b.order; });
  };
  const auto add = [&](std::uint32_t point) {
    const std::uint8_t order = order_of(point);
    if (order == 0) put_in_order();
    marks.push_back({point, order});
    if (order == 0) behind = marks.size();
  };
  for (std::int64_t at = 0; at < size;) {
    const CodePoint point = decode_utf8(text, size, at);
    at += point.length;
    if (is_in(point.value, kSyllable, kSyllables)) {
      const std::uint32_t number = point.value - kSyllable;
      add(kLead + number / (kVowels * kTails));
      add(kVowel + number / kTails % kVowels);
      if (number % kTails != 0) add(kTail + number % kTails);
      continue;
    }
    const std::string* const parts = apart_.find(point.value);
    if (parts == nullptr) {
      add(point.value);
      continue;
    }
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(parts->data());
    const auto length = static_cast<std::int64_t>(parts->size());
    for (std::int64_t i = 0; i < length;) {
      const CodePoint part = decode_utf8(bytes, length, i);
      add(part.value);
      i += part.length;
    }
  }
  put_in_order();
  if (composes_) {
    std::size_t kept = 0;
    std::size_t starter = marks.size();  // none yet
    std::uint8_t last = 0;
    for (std::size_t i = 0; i < marks.size(); ++i) {
      const Mark mark = marks[i];
      if (starter < kept && (kept == starter + 1 || last < mark.order) &&
          (kept == starter + 1 || last != 0)) {
        const std::uint32_t whole = together(marks[starter].point, mark.point);
        if (whole != 0) {
          marks[starter].point = whole;
          continue;
        }
      }
      if (mark.order == 0) starter = kept;
      last = mark.order;
      marks[kept++] = mark;
    }
    marks.resize(kept);
  }
  for (const Mark& mark : marks) put(mark.point, out);
}

Utf8 UnicodeForm::write(Utf8 text, bool, std::string* out) const {
  out->clear();
  const ByteRuns& runs = byte_runs();
  const auto* const chars = reinterpret_cast<const char*>(text.data);
  std::int64_t copied = 0;
  bool changed = false;
  std::int64_t before = 0;  // where the last character begins
  std::int64_t at = 0;
  while (at < text.size) {
    if (text.data[at] < 0x80) {
      const std::int64_t run = runs.members(apart_.kept(), text.data + at, text.size - at);
      if (run > 0) {
        at += run;
        before = at - 1;
        continue;
      }
    }
    CodePoint point = decode_utf8(text.data, text.size, at);
    if (!turning_.holds(point.value)) {
      before = at;
      at += point.length;
      continue;
    }
    // From the character before, which may go together with this, to the next that begins anew.
    const std::int64_t begin = std::max(before, copied);
    while (at < text.size && turning_.holds(point.value)) {
      at += point.length;
      if (at < text.size) point = decode_utf8(text.data, text.size, at);
    }
    if (!changed) out->reserve(static_cast<std::size_t>(text.size + text.size / 4 + 16));
    changed = true;
    out->append(chars + copied, static_cast<std::size_t>(begin - copied));
    normalize(text.data + begin, at - begin, out);
    copied = before = at;
  }
  if (!changed) return text;
  out->append(chars + copied, static_cast<std::size_t>(text.size - copied));
  return {reinterpret_cast<const std::uint8_t*>(out->data()),
          static_cast<std::int64_t>(out->size())};
}

}  // namespace tokfrag
