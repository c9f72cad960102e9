// Tables as flat bytes, and back by plain copies: what a vocabulary cache holds.
//
// A table lists its fields once, in a static `fields(archive, self)`, for both directions. Bytes
// are in the order of this machine and this build's layout; a checksum stands at the end.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "core/huge_buffer.hpp"

namespace tokfrag {

// Changes with every change of what tables keep, or of how they are looked up.
constexpr std::uint32_t kArchiveVersion = 2;

// A 64-bit hash of bytes: it tells damage, not malice. (Tables::are_sound keeps malice from harm.)
std::uint64_t checksum(const std::uint8_t* data, std::int64_t size);

// Bytes that no writer has finished.
struct ArchiveError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

class ArchiveWriter {
 public:
  template <class... Fields>
  void operator()(const Fields&... fields) {
    (put(fields), ...);
  }
  // Everything put so far, with its checksum.
  std::string finish();

 private:
  template <class T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    append(&value, sizeof value);
  }
  template <class T>
  void put(const std::vector<T>& values) {
    put_block(values.data(), static_cast<std::int64_t>(values.size() * sizeof(T)));
  }
  void put(const std::string& bytes) {
    put_block(bytes.data(), static_cast<std::int64_t>(bytes.size()));
  }
  void put(const HugeBuffer& buffer) { put_block(buffer.data(), buffer.size()); }
  void put_block(const void* data, std::int64_t size) {
    put(size);
    append(data, static_cast<std::size_t>(size));
  }
  void append(const void* data, std::size_t size) {
    if (size != 0) bytes_.append(static_cast<const char*>(data), size);
  }

  std::string bytes_;
};

// Throws ArchiveError.
class ArchiveReader {
 public:
  ArchiveReader(const std::uint8_t* data, std::int64_t size);

  template <class... Fields>
  void operator()(Fields&... fields) {
    (get(fields), ...);
  }
  // To be called after the last field.
  void expect_end() const;

 private:
  template <class T>
  void get(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memcpy(&value, take(sizeof value), sizeof value);
  }
  template <class T>
  void get(std::vector<T>& values) {
    const std::int64_t size = block_size(sizeof(T));
    values.resize(static_cast<std::size_t>(size) / sizeof(T));
    copy(values.data(), size);
  }
  void get(std::string& bytes) {
    const std::int64_t size = block_size(1);
    bytes.assign(reinterpret_cast<const char*>(take(size)), static_cast<std::size_t>(size));
  }
  void get(HugeBuffer& buffer) {
    const std::int64_t size = block_size(1);
    buffer = HugeBuffer(size);
    copy(buffer.data(), size);
  }
  void copy(void* to, std::int64_t size) {
    if (size != 0) std::memcpy(to, take(size), static_cast<std::size_t>(size));
  }
  std::int64_t block_size(std::size_t unit);
  const std::uint8_t* take(std::int64_t size);

  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

}  // namespace tokfrag
