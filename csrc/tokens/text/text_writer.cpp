#include "tokens/text/text_writer.hpp"

#include <algorithm>

#include "core/interrupt.hpp"
#include "core/parallel.hpp"
#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

constexpr char kMark[] = "\xEF\xBF\xBD";

const AsciiSet& all_ascii() {
  static const AsciiSet set = [] {
    AsciiSet all;
    for (std::uint8_t byte = 0; byte < 0x80; ++byte) all.add(byte);
    return all;
  }();
  return set;
}

// Where a text is no UTF-8, from `at` on; its size if it is.
std::int64_t find_damage(Utf8 text, std::int64_t at) {
  const ByteRuns& runs = byte_runs();
  while (at < text.size) {
    if (text.data[at] < 0x80) {
      at += runs.members(all_ascii(), text.data + at, text.size - at);
      continue;
    }
    const CodePoint point = decode_utf8(text.data, text.size, at);
    if (point.length == 1) return at;
    at += point.length;
  }
  return at;
}

Utf8 repair(Utf8 text, std::string* out) {
  std::int64_t at = find_damage(text, 0);
  if (at == text.size) return text;
  out->clear();
  std::int64_t copied = 0;
  for (; at < text.size; at = find_damage(text, at + 1)) {
    out->append(reinterpret_cast<const char*>(text.data + copied),
                static_cast<std::size_t>(at - copied));
    out->append(kMark);
    copied = at + 1;
  }
  out->append(reinterpret_cast<const char*>(text.data + copied),
              static_cast<std::size_t>(text.size - copied));
  return {reinterpret_cast<const std::uint8_t*>(out->data()),
          static_cast<std::int64_t>(out->size())};
}

}  // namespace

Utf8 TextWriter::operator()(const Text& text, bool first, Scratch* scratch) const {
  Utf8 written = to_utf8(text, &scratch->utf8);
  // Code units have been written as UTF-8 just now; bytes may be damaged.
  if (repairs_ && text.unit <= 0) written = repair(written, &scratch->repaired);
  int next = 0;
  for (const StepPointer& step : steps_) {
    std::string& out = scratch->written[next];
    written = step->write(written, first, &out);
    // What lies in one is read while the other is written to.
    const auto* const begin = reinterpret_cast<const std::uint8_t*>(out.data());
    if (written.data >= begin && written.data < begin + out.size()) next = 1 - next;
    if (written.size > (1 << 16)) poll_interrupt();
  }
  return written;
}

WrittenTexts::WrittenTexts(const TextWriter& writer, const std::vector<Text>& texts,
                           const std::uint8_t* inner, int threads)
    : texts_(texts.size()) {
  // Texts of some kilobytes lie end to end in a block.
  constexpr std::int64_t kBlockBytes = 1 << 16;
  std::vector<std::size_t> begins{0};
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    bytes += utf8_bound(texts[i]) + 16;
    if (bytes < kBlockBytes && i + 1 < texts.size()) continue;
    begins.push_back(i + 1);
    bytes = 0;
  }
  blocks_.resize(begins.size() - 1);
  parallel_for(static_cast<std::int64_t>(blocks_.size()), 1, threads,
               [&](std::int64_t first_block, std::int64_t end_block, int) {
                 TextWriter::Scratch scratch;
                 std::vector<std::size_t> places;
                 for (auto b = static_cast<std::size_t>(first_block);
                      b < static_cast<std::size_t>(end_block); ++b) {
                   std::string& block = blocks_[b];
                   std::int64_t room = 0;
                   for (std::size_t i = begins[b]; i < begins[b + 1]; ++i)
                     room += utf8_bound(texts[i]) + 2;
                   block.reserve(static_cast<std::size_t>(room));
                   places.clear();
                   for (std::size_t i = begins[b]; i < begins[b + 1]; ++i) {
                     const bool begins_document = inner == nullptr || inner[i] == 0;
                     const Utf8 written = writer(texts[i], begins_document, &scratch);
                     places.push_back(block.size());
                     block.append(reinterpret_cast<const char*>(written.data),
                                  static_cast<std::size_t>(written.size));
                     texts_[i] = {nullptr, written.size, 0};
                   }
                   for (std::size_t i = begins[b]; i < begins[b + 1]; ++i) {
                     texts_[i].data = block.data() + places[i - begins[b]];
                   }
                   poll_interrupt();
                 }
               });
}

}  // namespace tokfrag
