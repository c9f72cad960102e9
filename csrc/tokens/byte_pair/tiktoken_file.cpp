#include "tokens/byte_pair/tiktoken_file.hpp"

#include <algorithm>
#include <stdexcept>

#include "tokens/byte_pair/vocabulary.hpp"

namespace tokfrag {

namespace {

[[noreturn]] void refuse(std::int64_t line, const std::string& what) {
  throw std::invalid_argument("line " + std::to_string(line) + ": " + what);
}

struct Base64 {
  std::uint8_t value[256];
  Base64() {
    std::fill(std::begin(value), std::end(value), std::uint8_t{0xFF});
    const std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (std::size_t i = 0; i < digits.size(); ++i) {
      value[static_cast<std::uint8_t>(digits[i])] = static_cast<std::uint8_t>(i);
    }
  }
};

// Appends what strict base64 (full groups of four, canonical padding) stands for; false: it is not.
bool append_base64(std::string_view text, std::string* out) {
  static const Base64 table;
  if (text.size() % 4 != 0) return false;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const std::size_t digits = last ? 4 - padding : 4;
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < digits; ++j) {
      const std::uint8_t value = table.value[static_cast<std::uint8_t>(text[i + j])];
      if (value == 0xFF) return false;
      group |= static_cast<std::uint32_t>(value) << (18 - 6 * j);
    }
    const std::size_t count = digits - 1;
    if ((group & ((1u << (8 * (3 - count))) - 1)) != 0) return false;
    for (std::size_t j = 0; j < count; ++j) {
      out->push_back(static_cast<char>(group >> (16 - 8 * j)));
    }
  }
  return true;
}

std::uint32_t parse_rank(std::string_view text, std::int64_t line) {
  if (text.empty()) refuse(line, "no rank after the token");
  std::uint64_t rank = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') refuse(line, "rank '" + std::string(text) + "' is not a number");
    rank = rank * 10 + static_cast<std::uint64_t>(c - '0');
    if (rank > kMaxId) {
      refuse(line, "rank " + std::string(text) + " is above the largest supported, " +
                       std::to_string(kMaxId));
    }
  }
  return static_cast<std::uint32_t>(rank);
}

}  // namespace

RankedTokens parse_tiktoken(std::string_view file) {
  struct Line {
    std::uint32_t rank;
    std::int64_t number;
    std::size_t begin;
    std::size_t length;
  };
  std::vector<Line> lines;
  lines.reserve(file.size() / 14 + 1);
  std::string bytes;
  bytes.reserve(file.size() / 2);
  std::int64_t number = 0;
  for (std::size_t begin = 0; begin < file.size();) {
    ++number;
    std::size_t end = file.find('\n', begin);
    if (end == std::string_view::npos) end = file.size();
    std::string_view line = file.substr(begin, end - begin);
    begin = end + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) {
      if (begin >= file.size()) break;  // the end of the last line
      refuse(number, "is empty; expected a base64 token, a space and a rank");
    }
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) refuse(number, "no space between token and rank");
    if (space == 0) refuse(number, "the token is empty");
    const std::size_t place = bytes.size();
    if (!append_base64(line.substr(0, space), &bytes)) {
      refuse(number, "'" + std::string(line.substr(0, std::min<std::size_t>(space, 60))) +
                         "' is not base64");
    }
    if (bytes.size() == place) refuse(number, "the token is empty");
    lines.push_back(
        {parse_rank(line.substr(space + 1), number), number, place, bytes.size() - place});
  }
  const auto by_rank = [](const Line& a, const Line& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.number < b.number;
  };
  if (!std::is_sorted(lines.begin(), lines.end(), by_rank)) {
    std::sort(lines.begin(), lines.end(), by_rank);
  }
  RankedTokens tokens;
  tokens.bytes.reserve(bytes.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0 && lines[i].rank == lines[i - 1].rank) {
      refuse(lines[i].number, "rank " + std::to_string(lines[i].rank) +
                                  " is there already, in line " +
                                  std::to_string(lines[i - 1].number));
    }
    tokens.offsets.push_back(static_cast<std::int64_t>(tokens.bytes.size()));
    tokens.bytes.append(bytes, lines[i].begin, lines[i].length);
    tokens.ranks.push_back(lines[i].rank);
    tokens.lines.push_back(lines[i].number);
  }
  tokens.offsets.push_back(static_cast<std::int64_t>(tokens.bytes.size()));
  return tokens;
}

}  // namespace tokfrag
