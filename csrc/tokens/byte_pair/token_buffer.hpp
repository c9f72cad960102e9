// A growing array of ids whose memory the caller can take over: large blocks grow and shrink by
// remapping pages, without a copy.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "core/huge_buffer.hpp"

namespace tokfrag {

class TokenBuffer {
 public:
  TokenBuffer() = default;
  ~TokenBuffer() { std::free(data_); }
  TokenBuffer(TokenBuffer&& other) noexcept { swap(other); }
  TokenBuffer& operator=(TokenBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  TokenBuffer(const TokenBuffer&) = delete;
  TokenBuffer& operator=(const TokenBuffer&) = delete;

  std::uint32_t* data() const { return data_; }
  std::int64_t size() const { return size_; }
  void set_size(std::int64_t size) { size_ = size; }
  void clear() { size_ = 0; }

  // Makes room for `more` ids after the ones there.
  void reserve_more(std::int64_t more) {
    if (size_ + more > capacity_) grow(size_ + more);
  }

  void push(std::uint32_t id) {
    reserve_more(1);
    data_[size_++] = id;
  }

  // Gives back what is not used; small blocks are left alone.
  void shrink() {
    if (capacity_ - size_ > 1024) resize_block(size_ > 0 ? size_ : 1);
  }

  // Hands the block, to be freed with std::free, to the caller.
  std::uint32_t* release() {
    size_ = capacity_ = 0;
    return std::exchange(data_, nullptr);
  }

 private:
  void grow(std::int64_t needed) {
    const std::int64_t doubled = capacity_ * 2;
    resize_block(needed > doubled ? needed : doubled);
  }
  void resize_block(std::int64_t capacity) {
    void* block = std::realloc(data_, static_cast<std::size_t>(capacity) * sizeof(std::uint32_t));
    if (block == nullptr) throw std::bad_alloc();
    data_ = static_cast<std::uint32_t*>(block);
    advise_huge_pages(data_ + size_, (capacity - size_) * std::int64_t{sizeof(std::uint32_t)});
    capacity_ = capacity;
  }
  void swap(TokenBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  std::uint32_t* data_ = nullptr;
  std::int64_t size_ = 0;
  std::int64_t capacity_ = 0;
};

}  // namespace tokfrag
