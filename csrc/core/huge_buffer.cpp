#include "core/huge_buffer.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <new>
#include <utility>

namespace tokfrag {

namespace {
constexpr std::uintptr_t kHugePage = std::uintptr_t{1} << 21;
}

void advise_huge_pages(void* address, std::int64_t bytes) {
#ifdef MADV_HUGEPAGE
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  const std::uintptr_t first = (begin + kHugePage - 1) & ~(kHugePage - 1);
  const std::uintptr_t last = (begin + static_cast<std::uintptr_t>(bytes)) & ~(kHugePage - 1);
  if (bytes > 0 && last > first) {
    madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
  }
#else
  static_cast<void>(address);
  static_cast<void>(bytes);
#endif
}

HugeBuffer::HugeBuffer(std::int64_t bytes) : bytes_(bytes) {
  if (bytes < 0) throw std::bad_alloc();
  const auto wanted = static_cast<std::size_t>(bytes);
  if (wanted < kHugePage) {
    data_ = std::aligned_alloc(64, (wanted + 64) / 64 * 64);
    if (data_ == nullptr) throw std::bad_alloc();
    return;
  }
  // Mapped with a page to spare, so that the block can begin on a huge page.
  mapped_ = wanted + kHugePage;
  void* mapping =
      mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  const auto begin = reinterpret_cast<std::uintptr_t>(mapping);
  const std::uintptr_t aligned = (begin + kHugePage - 1) & ~(kHugePage - 1);
  if (aligned > begin) munmap(mapping, aligned - begin);
  data_ = reinterpret_cast<void*>(aligned);
  mapped_ -= aligned - begin;
  advise_huge_pages(data_, static_cast<std::int64_t>(mapped_));
}

HugeBuffer::~HugeBuffer() {
  if (mapped_ > 0) {
    munmap(data_, mapped_);
  } else {
    std::free(data_);
  }
}

HugeBuffer::HugeBuffer(HugeBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

HugeBuffer& HugeBuffer::operator=(HugeBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

}  // namespace tokfrag
