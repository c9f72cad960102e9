#include "core/interrupt.hpp"

#include <atomic>
#include <chrono>

#include "core/parallel.hpp"

namespace tokfrag {

namespace {
std::atomic<InterruptCheck> installed_check{nullptr};
}

void set_interrupt_check(InterruptCheck check) { installed_check.store(check); }

void poll_interrupt() {
  using Clock = std::chrono::steady_clock;
  thread_local Clock::time_point next{};
  if (in_worker()) {
    leave_failed_job();
    return;
  }
  const InterruptCheck check = installed_check.load(std::memory_order_relaxed);
  if (check == nullptr) return;
  const Clock::time_point now = Clock::now();
  if (now < next) return;
  next = now + std::chrono::milliseconds(20);
  check();
}

}  // namespace tokfrag
