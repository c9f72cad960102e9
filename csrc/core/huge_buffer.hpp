// Memory for large outputs and tables, on huge pages where the system has them.
//
// A fresh gigabyte costs more in 4 KiB page faults than in the work that fills it; asking for 2 MiB
// pages before the first touch removes most of that cost.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tokfrag {

// Asks for huge pages in the part of [address, address + bytes) that holds whole ones. A hint: it
// never fails, and does nothing for small ranges or where the system has no such call.
void advise_huge_pages(void* address, std::int64_t bytes);

// An owned, uninitialised (from the system: zero) block, 64-byte aligned; on huge pages from 2 MiB.
class HugeBuffer {
 public:
  HugeBuffer() = default;
  explicit HugeBuffer(std::int64_t bytes);  // throws std::bad_alloc
  // The same, filled with zeros: not by hand where they come from the system.
  static HugeBuffer zeros(std::int64_t bytes);
  ~HugeBuffer();
  HugeBuffer(HugeBuffer&& other) noexcept;
  HugeBuffer& operator=(HugeBuffer&& other) noexcept;
  HugeBuffer(const HugeBuffer&) = delete;
  HugeBuffer& operator=(const HugeBuffer&) = delete;

  void* data() const { return data_; }
  std::int64_t size() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
  std::size_t mapped_ = 0;
};

}  // namespace tokfrag
