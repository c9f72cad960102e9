#include "tokens/byte_pair/worker_pool.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "core/parallel.hpp"

#ifndef _WIN32
#include <pthread.h>
#endif

namespace tokfrag {

namespace {

std::atomic<int> forks{0};

void watch_forks() {
#ifndef _WIN32
  static const int registered = pthread_atfork(nullptr, nullptr, [] { ++forks; });
  static_cast<void>(registered);
#endif
}

}  // namespace

WorkerPool::WorkerPool(const Vocabulary& vocabulary, bool whole_pieces)
    : vocabulary_(&vocabulary),
      whole_pieces_(whole_pieces),
      slots_(static_cast<std::size_t>(std::max(4, default_threads()))),
      generation_(forks.load()) {
  watch_forks();
}

WorkerPool::~WorkerPool() = default;

WorkerPool::Lease::Lease(Lease&& other) noexcept
    : worker_(std::exchange(other.worker_, nullptr)),
      state_(std::exchange(other.state_, nullptr)) {}

WorkerPool::Lease::~Lease() {
  if (state_ != nullptr) {
    state_->store(0, std::memory_order_release);
  } else {
    delete worker_;
  }
}

WorkerPool::Lease WorkerPool::acquire() {
  int seen = generation_.load(std::memory_order_acquire);
  if (const int now = forks.load(std::memory_order_acquire); seen != now) {
    // In a child of fork, whose only thread at first this is. A worker lent at the fork belonged to
    // a thread that does not exist here and may be half written: it is dropped, not freed.
    if (generation_.compare_exchange_strong(seen, now)) {
      for (Slot& slot : slots_) {
        if (slot.state.load(std::memory_order_acquire) != 0) {
          static_cast<void>(slot.worker.release());
          slot.state.store(0, std::memory_order_release);
        }
      }
    }
  }
  std::optional<std::chrono::steady_clock::time_point> deadline;
  for (;;) {
    for (Slot& slot : slots_) {
      int free = 0;
      if (slot.state.load(std::memory_order_relaxed) == 0 &&
          slot.state.compare_exchange_strong(free, 1, std::memory_order_acquire)) {
        Lease lease(nullptr, &slot.state);
        if (slot.worker == nullptr)
          slot.worker = std::make_unique<Worker>(*vocabulary_, whole_pieces_);
        lease.worker_ = slot.worker.get();
        return lease;
      }
    }
    const auto now = std::chrono::steady_clock::now();
    if (!deadline) deadline = now + std::chrono::milliseconds(5);
    if (now > *deadline) {
      return Lease(new Worker(*vocabulary_, whole_pieces_), nullptr);
    }
    std::this_thread::yield();
  }
}

}  // namespace tokfrag
