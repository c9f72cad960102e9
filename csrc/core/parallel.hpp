// One seam for threads: nothing else in the package creates or knows them.
//
// The pool survives fork (a child starts afresh), has no shutdown to wait for, never makes the
// caller wait for a worker that has not woken, and runs nested or concurrent calls inline.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace tokfrag {

// A non-owning reference to `void(begin, end, worker)`; worker is in [0, threads).
class RangeBody {
 public:
  template <class Body, class = std::enable_if_t<!std::is_same_v<std::decay_t<Body>, RangeBody>>>
  RangeBody(const Body& body)  // NOLINT: implicit, so that a lambda can be passed
      : body_(std::addressof(body)),
        call_([](const void* b, std::int64_t begin, std::int64_t end, int worker) {
          (*static_cast<const Body*>(b))(begin, end, worker);
        }) {}
  void operator()(std::int64_t begin, std::int64_t end, int worker) const {
    call_(body_, begin, end, worker);
  }

 private:
  const void* body_;
  void (*call_)(const void*, std::int64_t, std::int64_t, int);
};

// TOKFRAG_NUM_THREADS if set, else the number of processors this process may use. Cached.
int default_threads();

// Calls body over disjoint ranges that cover [0, count), on at most `threads` threads (0: default),
// the caller among them. `grain`: the least number of items worth a thread of their own (about
// 50 microseconds of work); with count <= grain the call is serial. Ranges hold at least `grain`
// items, but for the last. Which thread runs which range varies: a body must not depend on it.
// An exception from a body cancels the ranges not yet begun and is rethrown here.
void parallel_for(std::int64_t count, std::int64_t grain, int threads, RangeBody body);

// True on a pool thread (and only there).
bool in_worker();

// On a pool thread whose job has failed elsewhere: throws, so that the caller waits no longer.
void leave_failed_job();

}  // namespace tokfrag
