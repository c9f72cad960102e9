#include "tokens/unigram/model_normalizer.hpp"

#include <cstring>

#include "tokens/text/utf8.hpp"

namespace tokfrag {

namespace {

constexpr char kMetaspace[] = "\xE2\x96\x81";

bool is_blank(const char* text, std::size_t length) { return length == 1 && text[0] == ' '; }

}  // namespace

ModelNormalizer::ModelNormalizer(const std::string& charsmap,
                                 const std::vector<std::string>& user_defined,
                                 NormalizerOptions options)
    : options_(options) {
  if (!charsmap.empty()) charsmap_ = std::make_unique<Charsmap>(charsmap);
  if (!user_defined.empty()) {
    user_defined_ =
        std::make_unique<ByteTrie>(user_defined, std::vector<double>(user_defined.size()));
  }
  has_runs_ = user_defined_ == nullptr && (charsmap_ == nullptr || charsmap_->keeps_pairs());
}

// What the text begins with, written as the model writes it.
ModelNormalizer::Prefix ModelNormalizer::prefix_of(const std::uint8_t* text,
                                                   std::int64_t size) const {
  if (user_defined_ != nullptr) {
    std::int64_t longest = 0;
    std::uint32_t node = ByteTrie::kRoot;
    for (std::int64_t i = 0; i < size; ++i) {
      node = user_defined_->child(node, text[i]);
      if (node == ByteTrie::kNoNode) break;
      if (user_defined_->score(node) != ByteTrie::kNoScore) longest = i + 1;
    }
    if (longest > 0) {
      return {reinterpret_cast<const char*>(text), static_cast<std::size_t>(longest), longest};
    }
  }
  if (charsmap_ != nullptr) {
    const Charsmap::Match match = charsmap_->longest(text, size);
    if (match.length > 0) return {match.text, std::strlen(match.text), match.length};
  }
  const CodePoint point = decode_utf8(text, size, 0);
  if (point.length == 1 && text[0] >= 0x80) return {"\xEF\xBF\xBD", 3, 1};
  return {reinterpret_cast<const char*>(text), point.length, point.length};
}

void ModelNormalizer::operator()(const std::uint8_t* text, std::int64_t size, std::string* out,
                                 std::vector<std::int64_t>* sources) const {
  std::string& result = *out;
  result.clear();
  std::int64_t at = 0;
  if (sources != nullptr) sources->clear();
  const auto put = [&](char byte) {
    result.push_back(byte);
    if (sources != nullptr) sources->push_back(at);
  };
  if (options_.remove_extra_whitespaces) {
    while (at < size) {
      const Prefix prefix = prefix_of(text + at, size - at);
      if (!is_blank(prefix.text, prefix.length)) break;
      at += prefix.consumed;
    }
  }
  if (at == size) {
    if (sources != nullptr) sources->push_back(0);
    return;
  }
  result.reserve(static_cast<std::size_t>(size - at) + 16);
  if (options_.add_dummy_prefix) put(' ');
  bool after_blank = options_.remove_extra_whitespaces;
  while (at < size) {
    if (sources == nullptr && has_runs_ && is_plain(text[at])) {
      std::int64_t end = at + 1;
      while (end < size && is_plain(text[end])) ++end;
      // The last may begin a key that goes on beyond ASCII.
      if (end < size && text[end] >= 0x80) --end;
      result.append(reinterpret_cast<const char*>(text + at), static_cast<std::size_t>(end - at));
      after_blank &= end == at;
      if (end > at) {
        at = end;
        continue;
      }
    }
    const Prefix prefix = prefix_of(text + at, size - at);
    std::size_t i = 0;
    while (after_blank && i < prefix.length && prefix.text[i] == ' ') ++i;
    if (i < prefix.length) {
      after_blank = options_.remove_extra_whitespaces && prefix.text[prefix.length - 1] == ' ';
      while (i < prefix.length) {
        const bool metaspace =
            prefix.length - i >= 3 && std::memcmp(prefix.text + i, kMetaspace, 3) == 0;
        put(metaspace ? ' ' : prefix.text[i]);
        i += metaspace ? 3 : 1;
      }
    }
    at += prefix.consumed;
  }
  std::size_t kept = result.size();
  while (options_.remove_extra_whitespaces && kept > 0 && result[kept - 1] == ' ') {
    --kept;
    if (sources != nullptr) at = (*sources)[kept];
  }
  result.resize(kept);
  if (sources != nullptr) {
    sources->resize(kept);
    sources->push_back(at);
  }
}

Utf8 ModelNormalizer::write(Utf8 text, bool, std::string* out) const {
  (*this)(text.data, text.size, out, nullptr);
  return {reinterpret_cast<const std::uint8_t*>(out->data()),
          static_cast<std::int64_t>(out->size())};
}

}  // namespace tokfrag
