#include "tokens/text/writing_step.hpp"

#include <cstring>
#include <utility>

#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

constexpr char kMetaspace[] = "\xE2\x96\x81";
constexpr std::uint32_t kMetaspacePoint = 0x2581;

bool is_space(std::uint32_t point) { return class_of(point) == kSpace; }

Utf8 view_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()),
          static_cast<std::int64_t>(text.size())};
}

// Copies what stays of a text, stretch by stretch, once something has changed.
class Rewriter {
 public:
  Rewriter(Utf8 text, std::string* out) : text_(text), out_(out) { out->clear(); }

  // text[begin, end) becomes `replacement`.
  void replace(std::int64_t begin, std::int64_t end, const std::string& replacement) {
    if (!changed_) out_->reserve(static_cast<std::size_t>(text_.size + text_.size / 8 + 16));
    changed_ = true;
    copy(begin);
    out_->append(replacement);
    copied_ = end;
  }
  std::int64_t copied() const { return copied_; }
  Utf8 finish() {
    if (!changed_) return text_;
    copy(text_.size);
    return view_of(*out_);
  }

 private:
  void copy(std::int64_t end) {
    out_->append(reinterpret_cast<const char*>(text_.data + copied_),
                 static_cast<std::size_t>(end - copied_));
  }
  Utf8 text_;
  std::string* out_;
  std::int64_t copied_ = 0;
  bool changed_ = false;
};

// Where `wanted` is in a text from `at` on; the text's size if nowhere.
std::int64_t find_text(Utf8 text, std::int64_t at, const char* wanted, std::size_t length) {
  const std::int64_t last = text.size - static_cast<std::int64_t>(length);
  while (at <= last) {
    const auto* const found = static_cast<const std::uint8_t*>(
        std::memchr(text.data + at, wanted[0], static_cast<std::size_t>(last - at + 1)));
    if (found == nullptr) break;
    if (std::memcmp(found, wanted, length) == 0) return found - text.data;
    at = found - text.data + 1;
  }
  return text.size;
}

class Replace : public WritingStep {
 public:
  Replace(std::string old, std::string replacement)
      : old_(std::move(old)), new_(std::move(replacement)) {}

  Utf8 write(Utf8 text, bool, std::string* out) const override {
    Rewriter rewriter(text, out);
    const auto length = static_cast<std::int64_t>(old_.size());
    for (std::int64_t at = 0; length > 0; at += length) {
      at = find_text(text, at, old_.data(), old_.size());
      if (at == text.size) break;
      rewriter.replace(at, at + length, new_);
    }
    return rewriter.finish();
  }

 private:
  std::string old_;
  std::string new_;
};

class Squeeze : public WritingStep {
 public:
  Utf8 write(Utf8 text, bool, std::string* out) const override {
    const ByteRuns& runs = byte_runs();
    Rewriter rewriter(text, out);
    for (std::int64_t at = 0;;) {
      at += runs.double_blank(text.data + at, text.size - at);
      if (at == text.size) return rewriter.finish();
      const std::int64_t second = ++at;
      while (at < text.size && text.data[at] == ' ') ++at;
      rewriter.replace(second, at, "");
    }
  }
};

// The ASCII that is no white space; and with the blank.
struct WordBytes {
  AsciiSet words;
  AsciiSet lines;
  WordBytes() {
    for (std::uint8_t byte = 0; byte < 0x80; ++byte) {
      if (byte != ' ' && is_space(byte)) continue;
      lines.add(byte);
      if (byte != ' ') words.add(byte);
    }
  }
};
const WordBytes kBytes;

class SqueezeSpaces : public WritingStep {
 public:
  SqueezeSpaces(std::string replacement, bool alone)
      : new_(std::move(replacement)), alone_(alone) {}

  Utf8 write(Utf8 text, bool, std::string* out) const override {
    const ByteRuns& runs = byte_runs();
    // One blank alone stays what it is, unless it is to become something else.
    const AsciiSet& staying = alone_ && new_ != " " ? kBytes.words : kBytes.lines;
    Rewriter rewriter(text, out);
    std::int64_t at = 0;
    while (at < text.size) {
      at += runs.words(staying, text.data + at, text.size - at);
      if (at == text.size) break;
      const CodePoint point = decode_utf8(text.data, text.size, at);
      if (!is_space(point.value)) {
        at += point.length;
        continue;
      }
      // A blank before it was taken for one between words.
      const bool blank = at > rewriter.copied() && text.data[at - 1] == ' ';
      const std::int64_t begin = at - static_cast<std::int64_t>(blank);
      std::int64_t count = static_cast<std::int64_t>(blank);
      while (at < text.size) {
        const CodePoint next = decode_utf8(text.data, text.size, at);
        if (!is_space(next.value)) break;
        at += next.length;
        ++count;
      }
      const std::uint8_t lone = text.data[begin];
      if (alone_ || count > 1 || lone == '\n' || lone == '\r' || lone == '\t') {
        rewriter.replace(begin, at, new_);
      }
    }
    return rewriter.finish();
  }

 private:
  std::string new_;
  bool alone_;
};

class Prepend : public WritingStep {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}

  Utf8 write(Utf8 text, bool, std::string* out) const override {
    Rewriter rewriter(text, out);
    if (text.size > 0) rewriter.replace(0, 0, prefix_);
    return rewriter.finish();
  }

 private:
  std::string prefix_;
};

class Strip : public WritingStep {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  Utf8 write(Utf8 text, bool, std::string*) const override {
    while (left_ && text.size > 0) {
      const CodePoint point = decode_utf8(text.data, text.size, 0);
      if (!is_space(point.value)) break;
      text.data += point.length;
      text.size -= point.length;
    }
    while (right_ && text.size > 0) {
      std::int64_t at = text.size - 1;
      while (at > 0 && is_continuation(text.data[at])) --at;
      if (!is_space(decode_utf8(text.data, text.size, at).value)) break;
      text.size = at;
    }
    return text;
  }

 private:
  bool left_;
  bool right_;
};

class MapCharacters : public WritingStep {
 public:
  explicit MapCharacters(std::shared_ptr<const CharacterMap> map) : map_(std::move(map)) {}

  Utf8 write(Utf8 text, bool, std::string* out) const override {
    const ByteRuns& runs = byte_runs();
    Rewriter rewriter(text, out);
    for (std::int64_t at = 0; at < text.size;) {
      if (text.data[at] < 0x80) {
        at += runs.members(map_->kept(), text.data + at, text.size - at);
        if (at == text.size) break;
      }
      const CodePoint point = decode_utf8(text.data, text.size, at);
      const std::string* const written = map_->find(point.value);
      if (written != nullptr) rewriter.replace(at, at + point.length, *written);
      at += point.length;
    }
    return rewriter.finish();
  }

 private:
  std::shared_ptr<const CharacterMap> map_;
};

class ReplaceGraphemes : public WritingStep {
 public:
  ReplaceGraphemes(std::shared_ptr<const Charsmap> map,
                   std::shared_ptr<const GraphemeTable> graphemes)
      : map_(std::move(map)), graphemes_(std::move(graphemes)) {}

  Utf8 write(Utf8 text, bool, std::string* out) const override {
    const bool changed = replace_graphemes(*map_, *graphemes_, text.data, text.size, out);
    return changed ? view_of(*out) : text;
  }

 private:
  std::shared_ptr<const Charsmap> map_;
  std::shared_ptr<const GraphemeTable> graphemes_;
};

bool begins_with_blank(Utf8 text) {
  return text.size > 0 &&
         (text.data[0] == ' ' || (text.size >= 3 && std::memcmp(text.data, kMetaspace, 3) == 0));
}

class Metaspace : public WritingStep {
 public:
  explicit Metaspace(Beginning beginning) : beginning_(beginning) {}

  Utf8 write(Utf8 text, bool first, std::string* out) const override {
    Rewriter rewriter(text, out);
    const bool wanted =
        beginning_ == Beginning::kAlways || (beginning_ == Beginning::kFirst && first);
    if (wanted && text.size > 0 && !begins_with_blank(text)) rewriter.replace(0, 0, " ");
    for (std::int64_t at = 0;; at += 3) {
      at = find_text(text, at, kMetaspace, 3);
      if (at == text.size) return rewriter.finish();
      rewriter.replace(at, at + 3, " ");
    }
  }

 private:
  Beginning beginning_;
};

class MetaspaceWords : public WritingStep {
 public:
  explicit MetaspaceWords(Beginning beginning) : beginning_(beginning) {}

  Utf8 write(Utf8 text, bool first, std::string* out) const override {
    const ByteRuns& runs = byte_runs();
    out->clear();
    out->reserve(static_cast<std::size_t>(text.size + text.size / 8 + 16));
    const bool always = beginning_ == Beginning::kAlways;
    // Where every word has a blank, one between two words is that of the second.
    const AsciiSet& run_bytes = always ? kBytes.lines : kBytes.words;
    bool inside = false;  // a word
    const auto begin_word = [&](std::int64_t at) {
      const bool wanted = always || (beginning_ == Beginning::kFirst && first && at == 0);
      if (!inside && wanted) out->push_back(' ');
      inside = true;
    };
    const auto copy = [&](std::int64_t begin, std::int64_t end) {
      out->append(reinterpret_cast<const char*>(text.data + begin),
                  static_cast<std::size_t>(end - begin));
    };
    for (std::int64_t at = 0; at < text.size;) {
      if (text.data[at] < 0x80) {
        if (is_space(text.data[at])) {
          inside = false;
          ++at;
          continue;
        }
        const std::int64_t end = at + runs.words(run_bytes, text.data + at, text.size - at);
        const bool blank = text.data[end - 1] == ' ';
        begin_word(at);
        copy(at, end - static_cast<std::int64_t>(blank));
        inside = !blank;
        at = end;
        continue;
      }
      const std::int64_t end = plain_end(text, at);
      if (end > at) {
        begin_word(at);
        copy(at, end);
        at = end;
        continue;
      }
      const CodePoint point = decode_utf8(text.data, text.size, at);
      if (point.value == kMetaspacePoint) {
        // A word that begins with one needs no other.
        out->push_back(' ');
        inside = true;
      } else {
        inside = false;
      }
      at += point.length;
    }
    return view_of(*out);
  }

 private:
  // How far a text goes on beyond ASCII without white space and metaspaces.
  static std::int64_t plain_end(Utf8 text, std::int64_t at) {
    while (at < text.size && text.data[at] >= 0x80) {
      const CodePoint point = decode_utf8(text.data, text.size, at);
      if (point.value == kMetaspacePoint || is_space(point.value)) break;
      at += point.length;
    }
    return at;
  }

  Beginning beginning_;
};

}  // namespace

StepPointer replace_step(std::string old, std::string replacement) {
  return std::make_shared<Replace>(std::move(old), std::move(replacement));
}

StepPointer squeeze_step() { return std::make_shared<Squeeze>(); }

StepPointer squeeze_spaces_step(std::string replacement, bool alone) {
  return std::make_shared<SqueezeSpaces>(std::move(replacement), alone);
}

StepPointer prepend_step(std::string prefix) {
  return std::make_shared<Prepend>(std::move(prefix));
}

StepPointer strip_step(bool left, bool right) { return std::make_shared<Strip>(left, right); }

StepPointer map_step(std::shared_ptr<const CharacterMap> map) {
  return std::make_shared<MapCharacters>(std::move(map));
}

StepPointer charsmap_step(std::shared_ptr<const Charsmap> map,
                          std::shared_ptr<const GraphemeTable> graphemes) {
  return std::make_shared<ReplaceGraphemes>(std::move(map), std::move(graphemes));
}

StepPointer metaspace_step(Beginning beginning, bool words) {
  if (words) return std::make_shared<MetaspaceWords>(beginning);
  return std::make_shared<Metaspace>(beginning);
}

}  // namespace tokfrag
