#include <atomic>
#include <limits>
#include <new>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "core/checked.hpp"
#include "core/huge_buffer.hpp"
#include "core/parallel.hpp"

namespace {

template <class Error, class Call>
bool throws(const Call& call) {
  try {
    call();
  } catch (const Error&) {
    return true;
  }
  return false;
}

}  // namespace

NATIVE_TEST(checked_sizes_refuse_to_overflow) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  CHECK(tokfrag::checked_multiply(kMost, 1) == kMost);
  CHECK(throws<std::overflow_error>([] { tokfrag::checked_multiply(kMost / 2 + 1, 2); }));
  CHECK(throws<std::overflow_error>([] { tokfrag::checked_add(kMost, 1); }));
}

NATIVE_TEST(parallel_for_visits_every_item_once) {
  for (const int threads : {1, 2, 3, 8}) {
    for (const std::int64_t count : {0, 1, 7, 1000, 4099}) {
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
      tokfrag::parallel_for(count, 3, threads,
                            [&](std::int64_t begin, std::int64_t end, int worker) {
                              CHECK(worker >= 0 && worker < threads);
                              for (std::int64_t i = begin; i < end; ++i) {
                                visits[static_cast<std::size_t>(i)].fetch_add(1);
                              }
                            });
      for (const auto& visit : visits) CHECK(visit.load() == 1);
    }
  }
}

NATIVE_TEST(parallel_for_rethrows_and_stays_usable) {
  for (int round = 0; round < 50; ++round) {
    CHECK(throws<std::runtime_error>([] {
      tokfrag::parallel_for(1000, 1, 4, [](std::int64_t begin, std::int64_t, int) {
        if (begin > 300) throw std::runtime_error("from a body");
      });
    }));
  }
  std::atomic<std::int64_t> sum{0};
  tokfrag::parallel_for(100, 1, 4, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) sum += i;
  });
  CHECK(sum.load() == 4950);
}

NATIVE_TEST(parallel_for_nests) {
  std::atomic<std::int64_t> sum{0};
  tokfrag::parallel_for(8, 1, 4, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      tokfrag::parallel_for(100, 1, 4, [&](std::int64_t b, std::int64_t e, int) { sum += e - b; });
    }
  });
  CHECK(sum.load() == 800);
}

NATIVE_TEST(huge_buffers_move_and_free) {
  tokfrag::HugeBuffer large(5 << 20);
  large.as<char>()[(5 << 20) - 1] = 'x';
  tokfrag::HugeBuffer moved(std::move(large));
  CHECK(moved.as<char>()[(5 << 20) - 1] == 'x');
  CHECK(large.data() == nullptr);
  tokfrag::HugeBuffer small(10);
  small = std::move(moved);
  CHECK(small.size() == 5 << 20);
  CHECK(throws<std::bad_alloc>([] { tokfrag::HugeBuffer(std::int64_t{1} << 60); }));
}
