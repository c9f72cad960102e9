#include "core/parallel.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

#include "core/checked.hpp"
#include "core/interrupt.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tokfrag {

namespace {

constexpr int kMaxThreads = 256;
constexpr int kChunksPerThread = 4;
// A range is never longer than this many grains (a few milliseconds), so that Ctrl-C is answered.
constexpr std::int64_t kMaxGrains = 64;
// How long an idle worker watches for work before it sleeps: waking one costs about 30 us.
constexpr auto kSpin = std::chrono::microseconds(200);

// How often a caller that only waits for its workers asks for Ctrl-C.
constexpr auto kPollWait = std::chrono::milliseconds(20);

thread_local bool is_worker = false;
// Whether the job that this worker is in has failed; null outside of jobs.
thread_local const std::atomic<bool>* job_failed = nullptr;

// Thrown on a worker to leave a job that has failed already; nobody sees it.
struct JobAbandoned {};

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

int processors_available() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int choose_default_threads() {
  if (const char* asked = std::getenv("TOKFRAG_NUM_THREADS")) {
    const int n = std::atoi(asked);
    if (n > 0) return std::min(n, kMaxThreads);
  }
  return std::min(processors_available(), kMaxThreads);
}

struct Job {
  RangeBody body;
  std::int64_t count;
  std::int64_t chunk;
  int max_workers;
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex error_mutex{};
  std::exception_ptr error{};

  // Runs ranges until none is left. `poll`: the caller also answers Ctrl-C between ranges.
  void drain(int worker, bool poll) {
    try {
      while (!failed.load(std::memory_order_relaxed)) {
        const std::int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= count) return;
        body(begin, std::min(count, begin + chunk), worker);
        if (poll) poll_interrupt();
      }
    } catch (...) {
      fail();
    }
  }

  // The caller, while it waits for workers: they leave the job where they poll.
  void poll() {
    try {
      poll_interrupt();
    } catch (...) {
      fail();
    }
  }

 private:
  // Keeps the exception that is being handled, if it is the first.
  void fail() {
    const std::lock_guard<std::mutex> lock(error_mutex);
    if (!error) error = std::current_exception();
    failed.store(true);
  }
};

class Pool {
 public:
  // Runs the job on up to job.max_workers threads, the caller included. Returns false, having done
  // nothing, if the pool is busy with another caller's job.
  bool run(Job& job) {
    if (!caller_mutex_.try_lock()) return false;
    const std::lock_guard<std::mutex> caller(caller_mutex_, std::adopt_lock);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      start_workers(job.max_workers - 1);
      job_ = &job;
      entered_ = 0;
      generation_.fetch_add(1, std::memory_order_release);
    }
    if (sleeping_.load() > 0) wake_.notify_all();
    job.drain(0, true);
    std::unique_lock<std::mutex> lock(mutex_);
    job_ = nullptr;  // a worker that wakes from here on finds nothing and is not waited for
    // Those inside are finishing their last range: watch for a moment before sleeping.
    lock.unlock();
    const auto until = std::chrono::steady_clock::now() + kSpin;
    while (active_.load(std::memory_order_acquire) > 0 &&
           std::chrono::steady_clock::now() < until) {
      relax();
    }
    lock.lock();
    const auto all_left = [this] { return active_.load(std::memory_order_acquire) == 0; };
    while (!done_.wait_for(lock, kPollWait, all_left)) {
      lock.unlock();
      job.poll();
      lock.lock();
    }
    return true;
  }

 private:
  void start_workers(int wanted) {
    for (; workers_ < std::min(wanted, kMaxThreads - 1); ++workers_) {
      try {
        std::thread([this] { work(); }).detach();
      } catch (const std::system_error&) {
        return;  // the machine gives no more threads: those there are do the work
      }
    }
  }

  void work() {
    is_worker = true;
    std::uint64_t seen = 0;
    for (;;) {
      const auto until = std::chrono::steady_clock::now() + kSpin;
      while (generation_.load(std::memory_order_acquire) == seen &&
             std::chrono::steady_clock::now() < until) {
        for (int i = 0; i < 32; ++i) relax();
      }
      Job* job = nullptr;
      int worker = 0;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        if (generation_.load(std::memory_order_relaxed) == seen) {
          sleeping_.fetch_add(1);
          wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
          sleeping_.fetch_sub(1);
        }
        seen = generation_.load(std::memory_order_relaxed);
        if (job_ == nullptr || entered_ + 1 >= job_->max_workers) continue;
        job = job_;
        worker = ++entered_;
        active_.fetch_add(1, std::memory_order_relaxed);
      }
      job_failed = &job->failed;
      job->drain(worker, false);
      job_failed = nullptr;
      const std::lock_guard<std::mutex> lock(mutex_);
      if (active_.fetch_sub(1, std::memory_order_release) == 1) done_.notify_one();
    }
  }

  std::mutex caller_mutex_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<int> active_{0};
  Job* job_ = nullptr;
  int entered_ = 0;
  int workers_ = 0;
};

// Leaked on purpose: worker threads may outlive every static destructor. After fork the child has
// none of the parent's threads, so it forgets the pool and makes its own when it needs one.
std::atomic<Pool*> shared_pool{nullptr};

Pool& pool() {
  static const int fork_handler =
      pthread_atfork(nullptr, nullptr, [] { shared_pool.store(nullptr); });
  static_cast<void>(fork_handler);
  Pool* current = shared_pool.load();
  if (current == nullptr) {
    Pool* fresh = new Pool;
    if (shared_pool.compare_exchange_strong(current, fresh)) return *fresh;
    delete fresh;  // another thread was first; ours has no workers yet
  }
  return *current;
}

}  // namespace

int default_threads() {
  static const int threads = choose_default_threads();
  return threads;
}

bool in_worker() { return is_worker; }

void leave_failed_job() {
  if (job_failed != nullptr && job_failed->load(std::memory_order_relaxed)) throw JobAbandoned{};
}

void parallel_for(std::int64_t count, std::int64_t grain, int threads, RangeBody body) {
  if (count <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  if (threads <= 0) threads = default_threads();
  const std::int64_t most = (count + grain - 1) / grain;
  threads = static_cast<int>(std::min<std::int64_t>(std::min(threads, kMaxThreads), most));
  const std::int64_t even = (count + threads * kChunksPerThread - 1) / (threads * kChunksPerThread);
  const std::int64_t chunk = std::max(grain, std::min(even, checked_multiply(grain, kMaxGrains)));
  Job job{body, count, chunk, threads};
  if (threads == 1) {
    // In ranges all the same, so that a long serial call answers Ctrl-C too.
    job.drain(0, true);
  } else if (in_worker() || !pool().run(job)) {
    job.drain(0, true);
  }
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace tokfrag
