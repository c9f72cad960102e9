// Whether pieces of work of some microseconds are done sooner by several threads than by one.
//
// On an idle machine they are; where other processes hold the processors, a thread that is woken
// comes late, and all wait for it.
#pragma once

#include <chrono>
#include <cstdint>

namespace tokfrag {

class SharingPace {
 public:
  // Whether to share the next piece: as the last ones say, but that now and then the other way is
  // tried.
  bool share() {
    const bool faster = shared_ <= alone_;
    return ++turn_ % kTry == 0 ? !faster : faster;
  }

  // Does `work`, which is made of `units`, and remembers how long it took.
  template <class Work>
  void timed(bool shared, std::size_t units, Work work) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    work();
    const double spent = std::chrono::duration<double>(Clock::now() - begin).count();
    double& pace = shared ? shared_ : alone_;
    const double latest = spent / static_cast<double>(units);
    pace += (latest - pace) * (pace == 0 ? 1.0 : 0.25);
  }

 private:
  static constexpr std::uint32_t kTry = 16;
  double shared_ = 0;  // seconds a unit, lately; 0: not yet known
  double alone_ = 0;
  std::uint32_t turn_ = 0;
};

}  // namespace tokfrag
