// The structures of the Arrow C data and C stream interfaces, whose layout is fixed for ever:
// https://arrow.apache.org/docs/format/CDataInterface.html
#pragma once

#include <cstdint>

namespace tokfrag {

struct ArrowSchema {
  const char* format;
  const char* name;
  const char* metadata;
  std::int64_t flags;
  std::int64_t n_children;
  ArrowSchema** children;
  ArrowSchema* dictionary;
  void (*release)(ArrowSchema*);
  void* private_data;
};

struct ArrowArray {
  std::int64_t length;
  std::int64_t null_count;  // -1: not counted
  std::int64_t offset;
  std::int64_t n_buffers;
  std::int64_t n_children;
  const void** buffers;
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};

struct ArrowArrayStream {
  int (*get_schema)(ArrowArrayStream*, ArrowSchema* out);
  int (*get_next)(ArrowArrayStream*, ArrowArray* out);  // past the end: an array without `release`
  const char* (*get_last_error)(ArrowArrayStream*);
  void (*release)(ArrowArrayStream*);
  void* private_data;
};

// One of these by value, released at the end of its life.
template <class Structure>
class ArrowOwned {
 public:
  ArrowOwned() = default;
  // Moves the structure out of where a producer has put it, as the interface demands.
  explicit ArrowOwned(Structure* from) : held_(*from) { from->release = nullptr; }
  ArrowOwned(ArrowOwned&& other) noexcept : held_(other.held_) { other.held_.release = nullptr; }
  ~ArrowOwned() {
    if (held_.release != nullptr) held_.release(&held_);
  }
  ArrowOwned(const ArrowOwned&) = delete;
  ArrowOwned& operator=(const ArrowOwned&) = delete;

  Structure* get() { return &held_; }
  const Structure& operator*() const { return held_; }
  const Structure* operator->() const { return &held_; }
  bool released() const { return held_.release == nullptr; }

 private:
  Structure held_{};
};

}  // namespace tokfrag
