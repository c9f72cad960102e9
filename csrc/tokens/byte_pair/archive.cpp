#include "tokens/byte_pair/archive.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kChecksumBytes = 8;

std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a ^ 0x9E3779B97F4A7C15ull) * (b ^ 0xD6E8FEB86659FD93ull);
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t word_at(const std::uint8_t* data) {
  std::uint64_t word = 0;
  std::memcpy(&word, data, sizeof word);
  return word;
}

[[noreturn]] void refuse() { throw ArchiveError("archive: damaged"); }

}  // namespace

std::uint64_t checksum(const std::uint8_t* data, std::int64_t size) {
  // Four lanes, so that multiplications overlap.
  std::uint64_t lanes[4] = {1, 2, 3, static_cast<std::uint64_t>(size)};
  std::int64_t at = 0;
  for (; at + 64 <= size; at += 64) {
    for (int lane = 0; lane < 4; ++lane) {
      lanes[lane] = fold(lanes[lane] + word_at(data + at + 16 * lane),
                         lanes[lane] ^ word_at(data + at + 16 * lane + 8));
    }
  }
  for (; at < size; ++at) lanes[at & 3] = fold(lanes[at & 3] + data[at], 5);
  return fold(fold(lanes[0], lanes[1]), fold(lanes[2], lanes[3]));
}

std::string ArchiveWriter::finish() {
  put(checksum(reinterpret_cast<const std::uint8_t*>(bytes_.data()),
               static_cast<std::int64_t>(bytes_.size())));
  return std::move(bytes_);
}

ArchiveReader::ArchiveReader(const std::uint8_t* data, std::int64_t size)
    : at_(data), end_(data + size - kChecksumBytes) {
  if (size < kChecksumBytes || word_at(end_) != checksum(data, size - kChecksumBytes)) refuse();
}

void ArchiveReader::expect_end() const {
  if (at_ != end_) refuse();
}

std::int64_t ArchiveReader::block_size(std::size_t unit) {
  std::int64_t size = 0;
  get(size);
  if (size < 0 || size > end_ - at_ || size % static_cast<std::int64_t>(unit) != 0) refuse();
  return size;
}

const std::uint8_t* ArchiveReader::take(std::int64_t size) {
  if (size > end_ - at_) refuse();
  const std::uint8_t* const data = at_;
  at_ += size;
  return data;
}

}  // namespace tokfrag
