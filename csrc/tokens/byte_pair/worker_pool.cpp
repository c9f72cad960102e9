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

WorkerPool::WorkerPool()
    : slots_(static_cast<std::size_t>(std::max(4, default_threads()))), generation_(forks.load()) {
  watch_forks();
}

WorkerPool::~WorkerPool() = default;

WorkerPool::Lease::Lease(Worker* worker, std::atomic<int>* state)
    : worker_(worker), state_(state), forks_(forks.load(std::memory_order_relaxed)) {}

WorkerPool::Lease::Lease(Lease&& other) noexcept
    : worker_(std::exchange(other.worker_, nullptr)),
      state_(std::exchange(other.state_, nullptr)),
      forks_(other.forks_) {}

WorkerPool::Lease::~Lease() {
  if (state_ == nullptr) {
    delete worker_;
  } else if (forks_ == forks.load(std::memory_order_relaxed)) {
    state_->store(0, std::memory_order_release);
  }
  // Else this thread forked while it held the lease (a signal handler did): the child has dropped
  // the worker, and its place may be lent anew.
}

void WorkerPool::drop_lent_before_fork() {
  const int now = forks.load(std::memory_order_acquire);
  int seen = generation_.load(std::memory_order_acquire);
  while (seen != now) {
    // ~now: another thread is at it. (That of an earlier fork exists no more.)
    if (seen == ~now) {
      std::this_thread::yield();
      seen = generation_.load(std::memory_order_acquire);
    } else if (generation_.compare_exchange_strong(seen, ~now)) {
      for (Slot& slot : slots_) {
        if (slot.state.load(std::memory_order_acquire) != 0) {
          static_cast<void>(slot.worker.release());
          slot.state.store(0, std::memory_order_release);
        }
      }
      generation_.store(now, std::memory_order_release);
      return;
    }
  }
}

WorkerPool::Lease WorkerPool::acquire() {
  drop_lent_before_fork();
  std::optional<std::chrono::steady_clock::time_point> deadline;
  for (;;) {
    for (Slot& slot : slots_) {
      int free = 0;
      if (slot.state.load(std::memory_order_relaxed) == 0 &&
          slot.state.compare_exchange_strong(free, 1, std::memory_order_acquire)) {
        Lease lease(nullptr, &slot.state);
        if (slot.worker == nullptr) slot.worker = std::make_unique<Worker>();
        lease.worker_ = slot.worker.get();
        return lease;
      }
    }
    const auto now = std::chrono::steady_clock::now();
    if (!deadline) deadline = now + std::chrono::milliseconds(5);
    if (now > *deadline) {
      return Lease(new Worker(), nullptr);
    }
    std::this_thread::yield();
  }
}

}  // namespace tokfrag
