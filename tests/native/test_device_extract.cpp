// What the threads of the CUDA extract do, run here one after the other.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "check.hpp"
#include "device_case.hpp"
#include "fragments/extract/affine_device.hpp"
#include "fragments/extract/device.hpp"
#include "fragments/extract/rows_device.hpp"

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

template <int kBytes>
void run_affine_threads(const DeviceAffinePlan& plan) {
  for (std::uint32_t i = 0; i < plan.threads(); ++i) extract_affine<kBytes>(plan, i);
}

void run_affine(const GridLayout& layout, int unit, const char* data, char* fragments) {
  const DeviceAffinePlan plan = make_affine_plan(layout, unit, data, fragments);
  if (unit == 16) run_affine_threads<16>(plan);
  if (unit == 8) run_affine_threads<8>(plan);
  if (unit == 4) run_affine_threads<4>(plan);
  if (unit == 2) run_affine_threads<2>(plan);
  if (unit == 1) run_affine_threads<1>(plan);
}

template <int kLoad>
void run_row_threads(const DeviceRowPlan<std::uint32_t>& plan) {
  constexpr std::uint32_t kStep = 8;
  for (std::uint32_t block = 0; block < plan.stores; block += kRowStores * kStep) {
    for (std::uint32_t thread = 0; thread < kStep; ++thread) {
      extract_rows<kLoad, std::uint32_t>(plan, block + thread, kStep);
    }
  }
}

void run_rows(const GridLayout& layout, int load, const char* data, char* fragments,
              const char* pad) {
  const auto plan = make_row_plan(layout, load, data, fragments, pad);
  if (load == 8) run_row_threads<8>(plan);
  if (load == 4) run_row_threads<4>(plan);
  if (load == 2) run_row_threads<2>(plan);
  if (load == 1) run_row_threads<1>(plan);
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

// Patches of 16 x 16 pixels of three bytes, side by side: 48 bytes a row, not one at a time.
NATIVE_TEST(rows_of_pixels_are_moved_as_bytes) {
  GridShape grid{2, PadMode::kConstant, {}};
  for (int axis = 0; axis < 2; ++axis) grid.axes[axis] = make_axis(224, 16, 16, 1, Edge::kPad);
  const auto unit_of = [&](std::int64_t size, std::int64_t item) {
    for (int axis = 0; axis < 2; ++axis) {
      grid.axes[axis] = make_axis(224, size, size, 1, Edge::kPad);
    }
    const std::int64_t data[] = {224 * 224 * 3 * item, 224 * 3 * item, 3 * item, item};
    const std::int64_t windows = grid.axes[0].count * grid.axes[1].count;
    const std::int64_t fragment = size * size * 3 * item;
    const std::int64_t strides[] = {windows * fragment, fragment, size * 3 * item, 3 * item, item};
    const GridLayout layout = make_layout(grid, true, item, 2, 3, data, strides, nullptr);
    return extract_unit(counted_in_numbers(layout), nullptr, nullptr);
  };
  CHECK(unit_of(16, 1) == 16 && unit_of(16, 2) == 16 && unit_of(16, 4) == 16);
  CHECK(unit_of(14, 1) == 2 && unit_of(14, 2) == 4 && unit_of(14, 4) == 8);
  // Those rows are stored 16 bytes at a time all the same.
  const std::int64_t data[] = {224 * 224, 224 * 224, 224, 1};
  const std::int64_t strides[] = {256 * 196, 196, 196, 14, 1};
  for (int axis = 0; axis < 2; ++axis) grid.axes[axis] = make_axis(224, 14, 14, 1, Edge::kPad);
  const GridLayout layout = make_layout(grid, false, 1, 2, 1, data, strides, nullptr);
  const int unit = extract_unit(counted_in_numbers(layout), nullptr, nullptr);
  CHECK(unit == 2 && extract_row_load(layout, unit, nullptr, nullptr) == 2);
}

NATIVE_TEST(device_extract_equals_loops) {
  Random random(2);
  int seen_units = 0;
  int seen_loads = 0;
  int affine_seen = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::int64_t item = std::int64_t{1} << random.between(0, 4);
    const DeviceCase made = random_case(random, item, true);
    const GridLayout layout = random.chance(50) ? made.layout() : counted_in_numbers(made.layout());
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
    const int load = extract_row_load(layout, widest, data.get(), fragments.get());
    seen_loads |= load;
    if (load > 0) {
      std::memset(fragments.get(), 99, expected.size());
      run_rows(layout, load, data.get(), fragments.get(), pad.data());
      CHECK(std::memcmp(fragments.get(), expected.data(), expected.size()) == 0);
    }
    if (extract_is_affine(layout, widest)) {
      ++affine_seen;
      std::memset(fragments.get(), 99, expected.size());
      run_affine(layout, widest, data.get(), fragments.get());
      CHECK(std::memcmp(fragments.get(), expected.data(), expected.size()) == 0);
    }
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
  CHECK(seen_loads == 15);
  CHECK(affine_seen > 300);
}
