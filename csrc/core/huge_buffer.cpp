#include "core/huge_buffer.hpp"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace tokfrag {

namespace {

constexpr std::uintptr_t kHugePage = std::uintptr_t{1} << 21;

// Fresh zero pages from the system, or null.
void* map_pages(std::size_t bytes) {
#ifdef _WIN32
  return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
#else
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return pages == MAP_FAILED ? nullptr : pages;
#endif
}

}  // namespace

void advise_huge_pages(void* address, std::int64_t bytes) {
#ifdef MADV_HUGEPAGE  // Linux alone
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
    const std::size_t whole = (wanted + 64) / 64 * 64;
#ifdef _WIN32
    data_ = _aligned_malloc(whole, 64);
#else
    data_ = std::aligned_alloc(64, whole);
#endif
    if (data_ == nullptr) throw std::bad_alloc();
    return;
  }
#ifdef _WIN32
  // Large pages need a privilege there, and a part of a reservation cannot be handed back.
  mapped_ = wanted;
  data_ = map_pages(mapped_);
  if (data_ == nullptr) throw std::bad_alloc();
#else
  // Mapped with a page to spare, so that the block can begin on a huge page.
  mapped_ = wanted + kHugePage;
  void* mapping = map_pages(mapped_);
  if (mapping == nullptr) throw std::bad_alloc();
  const auto begin = reinterpret_cast<std::uintptr_t>(mapping);
  const std::uintptr_t aligned = (begin + kHugePage - 1) & ~(kHugePage - 1);
  if (aligned > begin) munmap(mapping, aligned - begin);
  data_ = reinterpret_cast<void*>(aligned);
  mapped_ -= aligned - begin;
  advise_huge_pages(data_, static_cast<std::int64_t>(mapped_));
#endif
}

HugeBuffer HugeBuffer::zeros(std::int64_t bytes) {
  HugeBuffer buffer(bytes);
  if (buffer.mapped_ == 0) std::memset(buffer.data_, 0, static_cast<std::size_t>(bytes));
  return buffer;
}

HugeBuffer::~HugeBuffer() {
#ifdef _WIN32
  if (mapped_ > 0) {
    VirtualFree(data_, 0, MEM_RELEASE);
  } else {
    _aligned_free(data_);
  }
#else
  if (mapped_ > 0) {
    munmap(data_, mapped_);
  } else {
    std::free(data_);
  }
#endif
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
