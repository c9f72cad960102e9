// What the threads of the CUDA extract do, run here one after the other.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "check.hpp"
#include "device_case.hpp"
#include "fragments/extract/device.hpp"

namespace {

using namespace tokfrag;
using namespace tokfrag_test;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<char, Free>;

// Exactly so many bytes, that the address check sees what is read or written beyond them.
Memory allocate(std::int64_t bytes) {
  return Memory(static_cast<char*>(std::malloc(static_cast<std::size_t>(bytes))));
}

template <int kBytes, class Index>
void run_threads(const DeviceExtractPlan<Index>& plan) {
  constexpr Index kStep = 32;
  for (Index block = 0; block < plan.units; block += kExtractUnits * kStep) {
    for (Index thread = 0; thread < kStep; ++thread) {
      extract_units<kBytes, Index>(plan, block + thread, kStep);
    }
  }
}

template <class Index>
void run_extract(const GridLayout& layout, int unit, const char* data, char* fragments,
                 const char* pad) {
  const auto plan = make_extract_plan<Index>(layout, unit, data, fragments, pad);
  if (unit == 16) run_threads<16>(plan);
  if (unit == 8) run_threads<8>(plan);
  if (unit == 4) run_threads<4>(plan);
  if (unit == 2) run_threads<2>(plan);
  if (unit == 1) run_threads<1>(plan);
}

}  // namespace

NATIVE_TEST(divisors_divide) {
  Random random(1);
  for (int round = 0; round < 20000; ++round) {
    const std::int64_t value =
        random.chance(50) ? random.between(1, 300) : random.between(1, kNarrowLimit - 1);
    const std::int64_t number = random.between(0, kNarrowLimit - 1);
    Divisor<std::uint32_t> divisor{};
    set_divisor(divisor, value);
    for (const std::int64_t n : {number, number - number % value, kNarrowLimit - 1}) {
      CHECK(divisor.quotient(static_cast<std::uint32_t>(n)) == n / value);
      const std::int64_t below = n > 0 ? n - 1 : 0;
      CHECK(divisor.quotient(static_cast<std::uint32_t>(below)) == below / value);
    }
  }
}

NATIVE_TEST(device_extract_equals_loops) {
  Random random(2);
  int seen_units = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::int64_t item = std::int64_t{1} << random.between(0, 4);
    const DeviceCase made = random_case(random, item, true);
    const GridLayout layout = made.layout();
    const Memory data = allocate(made.data_bytes);
    const Memory fragments = allocate(made.fragment_bytes);
    for (std::int64_t i = 0; i < made.data_bytes; ++i) {
      data.get()[i] = static_cast<char>(random.between(0, 127));
    }
    std::vector<char> pad;
    for (std::int64_t i = 0; i < item; ++i) pad.push_back(static_cast<char>(-1 - i));
    std::vector<char> expected(static_cast<std::size_t>(made.fragment_bytes));
    for_each_fragment_element(
        made, [&](std::int64_t batch, std::int64_t, std::int64_t offset, std::int64_t* positions,
                  const std::int64_t*, std::int64_t channel) {
          bool inside = true;
          for (int axis = 0; axis < made.grid.rank; ++axis) {
            positions[axis] =
                source_position(made.grid.axes[axis].length, made.grid.pad_mode, positions[axis]);
            inside = inside && positions[axis] != kNoSource;
          }
          const char* from =
              inside ? data.get() + data_offset(made, batch, channel, positions) : pad.data();
          std::memcpy(expected.data() + offset, from, static_cast<std::size_t>(item));
        });
    if (is_empty(layout)) continue;
    const int widest = extract_unit(layout, data.get(), fragments.get());
    seen_units |= widest;
    CHECK(extract_is_narrow(layout, widest));
    for (const bool narrow : {true, false}) {
      std::memset(fragments.get(), 99, expected.size());
      if (narrow) {
        run_extract<std::uint32_t>(layout, widest, data.get(), fragments.get(), pad.data());
      } else {
        run_extract<std::uint64_t>(layout, widest, data.get(), fragments.get(), pad.data());
      }
      CHECK(std::memcmp(fragments.get(), expected.data(), expected.size()) == 0);
    }
  }
  CHECK(seen_units == 31);  // 1, 2, 4, 8 and 16 bytes
}
