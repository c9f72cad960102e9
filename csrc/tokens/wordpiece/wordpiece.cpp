#include "tokens/wordpiece/wordpiece.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "core/interrupt.hpp"
#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kLongestAscii = 128;  // bytes of a word that takes the short path
constexpr std::int64_t kSlack = 16;          // bytes that may be read behind a word

enum ByteKind : std::uint8_t { kOtherByte, kWordByte, kSpaceByte, kAloneByte };

std::uint64_t mix(std::uint64_t low, std::uint64_t high) {
  std::uint64_t hash = (low * 0x9e3779b97f4a7c15u) ^ (high * 0xd6e8feb86659fd93u);
  hash ^= hash >> 29;
  return hash * 0xbf58476d1ce4e5b9u >> 20;
}

constexpr int kIdBits = 24;
constexpr std::uint32_t kIdMask = (1u << kIdBits) - 1;

std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 36); }

// The low `bytes` bytes of a 16-byte key, the rest cleared, with the length on top.
void trim_key(std::uint64_t key[2], std::int64_t bytes) {
  const auto bits = static_cast<unsigned>(bytes * 8);
  key[0] &= bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
  key[1] &= bits <= 64 ? 0 : (std::uint64_t{1} << (bits - 64)) - 1;
  key[1] |= static_cast<std::uint64_t>(bytes) << 56;
}

// A to Z to lower case in eight bytes, all of them below 0x80.
std::uint64_t lower_bytes(std::uint64_t bytes) {
  constexpr std::uint64_t kOnes = 0x0101010101010101u;
  const std::uint64_t from_a = bytes + (0x80 - 'A') * kOnes;
  const std::uint64_t past_z = bytes + (0x80 - 'Z' - 1) * kOnes;
  return bytes | ((from_a & ~past_z & (0x80 * kOnes)) >> 2);
}

int put_utf8(std::uint32_t code, std::uint8_t* out) {
  if (code < 0x80) {
    out[0] = static_cast<std::uint8_t>(code);
    return 1;
  }
  if (code < 0x800) {
    out[0] = static_cast<std::uint8_t>(0xC0 | code >> 6);
    out[1] = static_cast<std::uint8_t>(0x80 | (code & 0x3F));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = static_cast<std::uint8_t>(0xE0 | code >> 12);
    out[1] = static_cast<std::uint8_t>(0x80 | (code >> 6 & 0x3F));
    out[2] = static_cast<std::uint8_t>(0x80 | (code & 0x3F));
    return 3;
  }
  out[0] = static_cast<std::uint8_t>(0xF0 | code >> 18);
  out[1] = static_cast<std::uint8_t>(0x80 | (code >> 12 & 0x3F));
  out[2] = static_cast<std::uint8_t>(0x80 | (code >> 6 & 0x3F));
  out[3] = static_cast<std::uint8_t>(0x80 | (code & 0x3F));
  return 4;
}

}  // namespace

// Gathers the characters of a word, and turns words into ids.
class WordPiece::Writer {
 public:
  Writer(const WordPiece& model, std::vector<std::uint32_t>* ids, std::vector<TokenSpan>* spans)
      : model_(model), ids_(ids), spans_(spans) {}

  void put_id(std::uint32_t id, std::int64_t begin, std::int64_t end) {
    ids_->push_back(id);
    if (spans_ != nullptr) spans_->push_back({begin, end});
  }

  // Takes one character of the text, at [begin, end), as what it becomes.
  void take(std::uint32_t unit, std::int64_t begin, std::int64_t end) {
    if (unit_kind(unit) == UnitKind::kChar && marks_.empty()) {
      put_char(unit_payload(unit), {begin, end});
    } else {
      take_other(unit, begin, end);
    }
  }

  // Takes characters from `at` on that become one character of a word each, read and written as
  // bytes; returns the place of the first that is not so plain, or near the end.
  std::int64_t take_plain(const std::uint8_t* text, std::int64_t at, std::int64_t size) {
    if (spans_ != nullptr || !marks_.empty()) return at;
    while (at + 3 <= size) {
      if (size_ + kSlack > room_) grow();
      std::uint8_t* const out = word_ + size_;
      const std::uint8_t* const from = text + at;
      if (from[0] < 0x80) {
        if (model_.kind_[from[0]] != kWordByte) return at;
        out[0] = model_.lowered_[from[0]];
        at += 1;
        size_ += 1;
      } else if (!is_continuation(from[1]) || from[0] < 0xC2) {
        return at;
      } else if (from[0] < 0xE0) {
        const ShortForm& form =
            model_.two_bytes_[static_cast<std::size_t>((from[0] & 0x1F) << 6 | (from[1] & 0x3F))];
        if (form.length == 0) return at;
        std::memcpy(out, form.bytes, sizeof form.bytes);
        at += 2;
        size_ += form.length;
      } else {
        const bool overlong = from[0] == 0xE0 && from[1] < 0xA0;
        const bool surrogate = from[0] == 0xED && from[1] >= 0xA0;
        if (from[0] > 0xEF || overlong || surrogate || !is_continuation(from[2])) return at;
        const std::uint32_t code = static_cast<std::uint32_t>(
            (from[0] & 0x0F) << 12 | (from[1] & 0x3F) << 6 | (from[2] & 0x3F));
        if (model_.unit_of(code) != code) return at;
        std::memcpy(out, from, 3);
        at += 3;
        size_ += 3;
      }
      ++n_chars_;
    }
    return at;
  }

  // Turns what was gathered since the last word into ids.
  void end_word() {
    if (!marks_.empty()) sort_marks();
    if (size_ == 0) return;
    word(word_, size_, n_chars_, nullptr);
    size_ = 0;
    n_chars_ = 0;
    sources_.clear();
  }

  // The word at [begin, begin + size) of the text, in its normal form at `bytes`, where kSlack
  // bytes may be read.
  void ascii_word(const std::uint8_t* bytes, std::int64_t size, std::int64_t begin) {
    const TokenSpan source{begin, begin + size};
    word(bytes, size, size, &source);
  }

 private:
  struct Mark {
    std::uint32_t combining_class;
    std::uint32_t code;
    TokenSpan source;
  };

  void take_other(std::uint32_t unit, std::int64_t begin, std::int64_t end) {
    const std::uint32_t payload = unit_payload(unit);
    switch (unit_kind(unit)) {
      case UnitKind::kChar:
        sort_marks();
        put_char(payload, {begin, end});
        break;
      case UnitKind::kSpace:
        end_word();
        break;
      case UnitKind::kAlone:
        end_word();
        put_id(payload, begin, end);
        break;
      case UnitKind::kDropped:
        break;
      case UnitKind::kStarter:
        sort_marks();
        break;
      case UnitKind::kMark:
        marks_.push_back({payload >> 21, payload & 0x1fffff, {begin, end}});
        break;
      case UnitKind::kSeveral:
        for (std::uint32_t i = 1; i <= model_.lists_[payload]; ++i) {
          take(model_.lists_[payload + i], begin, end);
        }
        break;
    }
  }

  void grow() {
    room_ *= 2;
    if (more_.empty()) more_.assign(first_, first_ + size_);
    more_.resize(static_cast<std::size_t>(room_));
    word_ = more_.data();
  }

  void put_char(std::uint32_t code, TokenSpan source) {
    if (size_ + kSlack > room_) grow();
    const int length = put_utf8(code, word_ + size_);
    size_ += length;
    ++n_chars_;
    if (spans_ != nullptr)
      sources_.insert(sources_.end(), static_cast<std::size_t>(length), source);
  }

  void sort_marks() {
    std::stable_sort(marks_.begin(), marks_.end(), [](const Mark& a, const Mark& b) {
      return a.combining_class < b.combining_class;
    });
    for (const Mark& mark : marks_) put_char(mark.code, mark.source);
    marks_.clear();
  }

  void word(const std::uint8_t* bytes, std::int64_t size, std::int64_t n_chars,
            const TokenSpan* ascii) {
    if (size <= kWholeBytes) {
      std::uint64_t key[2];
      std::memcpy(key, bytes, sizeof key);
      trim_key(key, size);
      const std::uint32_t id = model_.find_whole(key[0], key[1]);
      if (id != kNoToken && n_chars <= model_.options_.longest_word) {
        ids_->push_back(id);
        if (spans_ != nullptr) put_span(0, size, ascii);
        return;
      }
    }
    parts(bytes, size, n_chars, ascii);
  }

  void parts(const std::uint8_t* bytes, std::int64_t size, std::int64_t n_chars,
             const TokenSpan* ascii) {
    const std::size_t first = ids_->size();
    std::int64_t n = -1;
    if (n_chars <= model_.options_.longest_word) {
      ids_->resize(first + static_cast<std::size_t>(size));
      n = model_.trie_.match(bytes, size, ids_->data() + first);
    }
    if (n < 0) {
      ids_->resize(first);
      ids_->push_back(model_.options_.unknown);
      if (spans_ != nullptr) put_span(0, size, ascii);
      return;
    }
    ids_->resize(first + static_cast<std::size_t>(n));
    if (spans_ == nullptr) return;
    std::int64_t at = 0;
    for (std::size_t i = first; i < ids_->size(); ++i) {
      const std::uint32_t id = (*ids_)[i];
      const std::int64_t length = i == first ? model_.lengths_[id] : model_.suffix_lengths_[id];
      put_span(at, at + length, ascii);
      at += length;
    }
  }

  void put_span(std::int64_t begin, std::int64_t end, const TokenSpan* ascii) {
    if (ascii != nullptr) {
      spans_->push_back({ascii->begin + begin, ascii->begin + end});
    } else {
      spans_->push_back({sources_[static_cast<std::size_t>(begin)].begin,
                         sources_[static_cast<std::size_t>(end - 1)].end});
    }
  }

  const WordPiece& model_;
  std::vector<std::uint32_t>* ids_;
  std::vector<TokenSpan>* spans_;
  std::uint8_t first_[256];
  std::vector<std::uint8_t> more_;  // where the first room is too small
  std::uint8_t* word_ = first_;
  std::int64_t room_ = sizeof first_;
  std::int64_t size_ = 0;
  std::int64_t n_chars_ = 0;
  std::vector<TokenSpan> sources_;  // where each byte of the word comes from
  std::vector<Mark> marks_;
};

WordPiece::WordPiece(const std::vector<std::string>& tokens, std::string_view prefix,
                     const std::uint32_t* units, std::vector<std::uint32_t> lists,
                     const WordPieceOptions& options)
    : options_(options), trie_(tokens, prefix), lists_(std::move(lists)) {
  std::map<std::vector<std::uint32_t>, std::uint16_t> seen;
  for (std::uint32_t page = 0; page < 0x110000 >> 8; ++page) {
    std::vector<std::uint32_t> content(units + page * 256, units + page * 256 + 256);
    const auto [found, added] = seen.emplace(content, static_cast<std::uint16_t>(seen.size()));
    if (added) pages_.insert(pages_.end(), content.begin(), content.end());
    page_of_.push_back(found->second);
  }

  std::size_t slots = 1024;
  while (slots < tokens.size() * 3) slots *= 2;
  whole_.resize(slots);
  keys_.resize(tokens.size());
  for (std::uint32_t id = 0; id < tokens.size(); ++id) {
    const std::string& token = tokens[id];
    lengths_.push_back(static_cast<std::uint32_t>(token.size()));
    suffix_lengths_.push_back(
        static_cast<std::uint32_t>(token.size() - std::min(token.size(), prefix.size())));
    if (!token.empty() && token.size() <= kWholeBytes) add_whole(token, id);
  }

  // From here on a character that is a word of its own is its id.
  for (std::uint32_t& unit : pages_) unit = with_id(unit);
  for (std::size_t at = 1; at < lists_.size(); at += lists_[at] + 1) {
    for (std::uint32_t i = 1; i <= lists_[at]; ++i) lists_[at + i] = with_id(lists_[at + i]);
  }

  lowercase_ = unit_of('A') == 'a';
  std::fill(std::begin(kind_), std::end(kind_), kOtherByte);
  for (std::uint32_t code = 0; code < 128; ++code) {
    const std::uint32_t unit = unit_of(code);
    const std::uint32_t lowered = lowercase_ && code >= 'A' && code <= 'Z' ? code + 32 : code;
    if (unit_kind(unit) == UnitKind::kSpace) kind_[code] = kSpaceByte;
    if (unit_kind(unit) == UnitKind::kAlone) kind_[code] = kAloneByte;
    if (unit == lowered) kind_[code] = kWordByte;
  }

  for (std::uint32_t code = 0; code < 128; ++code) {
    if (kind_[code] == kWordByte) lowered_[code] = static_cast<std::uint8_t>(unit_of(code));
  }
  two_bytes_.resize(0x800);
  for (std::uint32_t code = 0x80; code < 0x800; ++code) {
    const std::uint32_t unit = unit_of(code);
    if (unit < 0x800) {
      std::uint8_t bytes[4];
      two_bytes_[code].length = static_cast<std::uint8_t>(put_utf8(unit, bytes));
      std::memcpy(two_bytes_[code].bytes, bytes, 2);
    }
  }
}

bool WordPiece::is_space(std::uint8_t byte) const { return kind_[byte] == kSpaceByte; }

bool WordPiece::is_alone(std::uint8_t byte) const { return kind_[byte] == kAloneByte; }

std::uint32_t WordPiece::with_id(std::uint32_t unit) const {
  if (unit_kind(unit) != UnitKind::kAlone) return unit;
  std::uint64_t key[2] = {0, 0};
  trim_key(key, put_utf8(unit_payload(unit), reinterpret_cast<std::uint8_t*>(key)));
  const std::uint32_t id = options_.longest_word < 1 ? kNoToken : find_whole(key[0], key[1]);
  return static_cast<std::uint32_t>(UnitKind::kAlone) << kUnitBits |
         (id == kNoToken ? options_.unknown : id);
}

std::uint32_t WordPiece::find_whole(std::uint64_t low, std::uint64_t high) const {
  const std::uint64_t hash = mix(low, high);
  const std::size_t mask = whole_.size() - 1;
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    const std::uint32_t slot = whole_[at];
    if (slot == 0) return kNoToken;
    if (slot >> kIdBits != tag_of(hash)) continue;
    const std::uint32_t id = (slot & kIdMask) - 1;
    if (keys_[id].low == low && keys_[id].high == high) return id;
  }
}

void WordPiece::add_whole(std::string_view token, std::uint32_t id) {
  std::uint64_t key[2] = {0, 0};
  std::memcpy(key, token.data(), token.size());
  trim_key(key, static_cast<std::int64_t>(token.size()));
  keys_[id] = {key[0], key[1]};
  const std::uint64_t hash = mix(key[0], key[1]);
  const std::size_t mask = whole_.size() - 1;
  std::size_t at = hash & mask;
  while (whole_[at] != 0) at = (at + 1) & mask;
  whole_[at] = tag_of(hash) << kIdBits | (id + 1);
}

void WordPiece::encode(const std::uint8_t* text, std::int64_t size, std::vector<std::uint32_t>* ids,
                       std::vector<TokenSpan>* spans) const {
  Writer writer(*this, ids, spans);
  std::int64_t at = 0;
  while (at < size) {
    at = encode_ascii(text, at, size, writer);
    if (at < size) at = encode_any(text, at, size, writer);
  }
}

// Words and punctuation from `at` on, up to the end or to the begin of a word that is not plain
// ASCII; returns where that is.
std::int64_t WordPiece::encode_ascii(const std::uint8_t* text, std::int64_t at, std::int64_t size,
                                     Writer& writer) const {
  std::uint8_t normal[kLongestAscii + kSlack];
  while (at < size) {
    const std::uint8_t kind = kind_[text[at]];
    if (kind == kSpaceByte) {
      ++at;
      continue;
    }
    if (kind == kAloneByte) {
      writer.put_id(unit_payload(unit_of(text[at])), at, at + 1);
      ++at;
      continue;
    }
    if (kind == kOtherByte) return at;
    std::int64_t end = at + 1;
    while (end < size && kind_[text[end]] == kWordByte) ++end;
    const std::int64_t length = end - at;
    if (length > kLongestAscii || (end < size && kind_[text[end]] == kOtherByte)) return at;
    // Whole blocks where the text goes on; what lies behind the word is lower-cased for nothing,
    // and a byte above 0x7f there spoils only bytes behind it.
    for (std::int64_t i = 0; i < length; i += 8) {
      std::uint64_t block = 0;
      std::memcpy(&block, text + at + i,
                  at + i + 8 <= size ? 8 : static_cast<std::size_t>(size - at - i));
      if (lowercase_) block = lower_bytes(block);
      std::memcpy(normal + i, &block, 8);
    }
    writer.ascii_word(normal, length, at);
    at = end;
  }
  return at;
}

// One stretch of text through the table: from `at` to the next ASCII white space.
std::int64_t WordPiece::encode_any(const std::uint8_t* text, std::int64_t at, std::int64_t size,
                                   Writer& writer) const {
  constexpr std::int64_t kPollEvery = 1 << 14;
  std::int64_t polled = at;
  while (at < size) {
    if (at - polled >= kPollEvery) {
      poll_interrupt();
      polled = at;
    }
    const std::uint8_t byte = text[at];
    if (kind_[byte] == kSpaceByte) break;
    const std::int64_t plain = writer.take_plain(text, at, std::min(size, at + kPollEvery));
    if (plain > at) {
      at = plain;
      continue;
    }
    const CodePoint point = decode_utf8(text, size, at);
    writer.take(unit_of(point.value), at, at + point.length);
    at += point.length;
  }
  writer.end_word();
  return at;
}

}  // namespace tokfrag
