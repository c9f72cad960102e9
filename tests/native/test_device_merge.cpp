// What the threads of the CUDA merge do, run here one after the other.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include "check.hpp"
#include "device_case.hpp"
#include "fragments/grid/walk.hpp"
#include "fragments/merge/choice_device.hpp"

namespace {

using namespace tokfrag;
using namespace tokfrag_test;

struct RunThreads {
  template <class Merge>
  void operator()(const MergeCall& call, Merge) const {
    const typename Merge::Plan plan = plan_of<Merge>(call);
    for (typename Merge::Index unit = 0; unit < plan.units; ++unit) Merge::run(plan, unit);
  }
};

struct MergeCase {
  DeviceCase shape;
  GridLayout layout;
  MergeWindow host;
  DeviceWindow window;
  Dtype dtype;
};

// The kernel that merge.cu chooses, or one that does for all.
template <class T>
void run_merge(Random& random, const MergeCase& made, const T* fragments, T* out, T fill) {
  const MergeCall call{made.layout, made.shape.grid, made.window, made.dtype, fragments,
                       out,         &fill,           nullptr};
  if (random.chance(70)) return choose_merge<T>(call, RunThreads{});
  RunThreads{}(call, AnyMerge<T, 1, DeviceMergeMethod::kAny, kMaxAxes, std::uint64_t>{});
}

template <class T>
T make_number(double value) {
  if constexpr (kIsHalf<T>) {
    return number_of<T>(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

// One weight an axis, or one an element of the window or of all fragments; in the accumulator's
// type, so that loops and threads start from the same numbers.
template <class Accumulator>
struct Weights {
  std::vector<Accumulator> axes[kMaxAxes];
  std::vector<Accumulator> inverse[kMaxAxes];
  std::vector<Accumulator> sums[kMaxAxes];
  std::vector<Accumulator> whole;
};

// Fills in `made.window` from random weights; false if they cannot be divided by.
template <class Accumulator>
bool choose_weights(Random& random, MergeCase& made, Weights<Accumulator>& weights) {
  const GridShape& grid = made.shape.grid;
  made.host.reduce = static_cast<Reduce>(random.between(0, 2));
  made.host.axes.resize(static_cast<std::size_t>(grid.rank));
  std::int64_t whole = 1;
  for (int axis = 0; axis < grid.rank; ++axis) whole *= grid.axes[axis].size;
  if (random.chance(25)) {
    made.host.per_fragment = random.chance(50);
    if (made.host.per_fragment) whole *= made.shape.fragment_shape[1];
    std::vector<double> numbers;
    for (std::int64_t i = 0; i < whole; ++i) {
      numbers.push_back(static_cast<double>(random.between(1, 64)) / 32);
    }
    made.host.whole = std::move(numbers);
  } else if (random.chance(60)) {
    for (int axis = 0; axis < grid.rank; ++axis) {
      if (random.chance(30)) continue;
      for (std::int64_t k = 0; k < grid.axes[axis].size; ++k) {
        made.host.axes[static_cast<std::size_t>(axis)].weights.push_back(
            static_cast<double>(random.between(1, 64)) / 32);
      }
    }
  }
  int bad = 0;
  if (!prepare(grid, made.host, bad)) return false;
  const auto copy = [](const auto& from, std::vector<Accumulator>& to) {
    for (const double value : from) to.push_back(static_cast<Accumulator>(value));
    return to.empty() ? nullptr : to.data();
  };
  made.window.reduce = made.host.reduce;
  made.window.per_fragment = made.host.per_fragment;
  made.window.uniform = made.host.uniform;
  made.window.whole = copy(made.host.whole, weights.whole);
  for (int axis = 0; axis < grid.rank; ++axis) {
    const AxisWindow& own = made.host.axes[static_cast<std::size_t>(axis)];
    made.window.weights[axis] = copy(own.weights, weights.axes[axis]);
    made.window.inverse[axis] = copy(own.inverse, weights.inverse[axis]);
    made.window.sums[axis] = copy(own.sums, weights.sums[axis]);
  }
  return true;
}

struct Sum {
  long double values = 0;
  long double weights = 0;
  double best = 0;
  bool seen = false;
};

// The definition, in loops over the fragments: what arrives at each byte offset of the output.
template <class T>
std::map<std::int64_t, Sum> merge_in_loops(const MergeCase& made, const T* fragments) {
  std::map<std::int64_t, Sum> sums;
  const GridShape& grid = made.shape.grid;
  const MergeWindow& window = made.host;
  for_each_fragment_element(
      made.shape, [&](std::int64_t batch, std::int64_t fragment, std::int64_t offset,
                      std::int64_t* positions, const std::int64_t* taps, std::int64_t channel) {
        double weight = 1;
        std::int64_t in_whole = window.per_fragment ? fragment : 0;
        for (int axis = 0; axis < grid.rank; ++axis) {
          const GridAxis& own = grid.axes[axis];
          if (positions[axis] >= own.length && window.reduce != Reduce::kSum) return;
          positions[axis] = source_position(own.length, grid.pad_mode, positions[axis]);
          if (positions[axis] == kNoSource) return;
          const auto& weights = window.axes[static_cast<std::size_t>(axis)].weights;
          if (!weights.empty()) weight *= weights[static_cast<std::size_t>(taps[axis])];
          in_whole = in_whole * own.size + taps[axis];
        }
        if (!window.whole.empty()) weight = window.whole[static_cast<std::size_t>(in_whole)];
        T number;
        std::memcpy(&number, reinterpret_cast<const char*>(fragments) + offset, sizeof number);
        const auto value = static_cast<double>(value_of(number));
        Sum& sum = sums[data_offset(made.shape, batch, channel, positions)];
        sum.best = !sum.seen || value > sum.best || std::isnan(value) ? value : sum.best;
        sum.seen = true;
        sum.values += static_cast<long double>(weight * value);
        sum.weights += static_cast<long double>(weight);
      });
  return sums;
}

template <class T>
void check_merges(Dtype dtype, std::uint32_t seed, int& wide_seen) {
  Random random(seed);
  for (int round = 0; round < 700; ++round) {
    MergeCase made{};
    made.dtype = dtype;
    made.shape = random_case(random, sizeof(T), false);
    Weights<AccumulatorOf<T>> weights;
    if (!choose_weights(random, made, weights)) continue;
    bool keep[kMaxAxes] = {};
    for (int axis = 0; axis < made.shape.grid.rank; ++axis) {
      keep[axis] = made.window.whole != nullptr || made.window.weights[axis] != nullptr;
    }
    made.layout = made.shape.layout(keep);
    std::vector<T> fragments(static_cast<std::size_t>(product(made.shape.fragment_shape)));
    for (T& number : fragments) number = make_number<T>(random.number());
    const T fill = make_number<T>(77);
    const auto numbers = static_cast<std::size_t>(product(made.shape.data_shape));
    // Aligned as CUDA's memory is; what lies behind is watched.
    const std::size_t rounded = (numbers * sizeof(T) + kMaxUnit - 1) / kMaxUnit * kMaxUnit;
    T* out = static_cast<T*>(std::aligned_alloc(kMaxUnit, rounded));
    const int wanted = merge_wide<T>(choose_merge_method(made.window, made.dtype));
    const bool wide = merge_numbers(made.layout, made.window, fragments.data(), out, wanted) > 1;
    wide_seen += wide ? 1 : 0;
    CHECK(merge_is_narrow(made.layout));
    run_merge<T>(random, made, fragments.data(), out, fill);
    const auto sums = merge_in_loops(made, fragments.data());
    constexpr double kTolerance = sizeof(T) == 8 ? 1e-13 : (sizeof(T) == 4 ? 1e-6 : 0.01);
    for (std::size_t i = 0; i < numbers; ++i) {
      const auto found = sums.find(static_cast<std::int64_t>(i * sizeof(T)));
      const auto got = static_cast<double>(value_of(out[i]));
      double expected = 77;
      double slack = 0;
      if (found != sums.end()) {
        const Sum& sum = found->second;
        const bool mean = made.window.reduce == Reduce::kMean;
        expected = static_cast<double>(mean ? sum.values / sum.weights : sum.values);
        slack = kTolerance * (std::abs(expected) + 16);
        if constexpr (std::is_integral_v<T>) {
          using Limits = std::numeric_limits<T>;
          expected = std::clamp(expected, static_cast<double>(Limits::lowest()),
                                static_cast<double>(Limits::max()));
          slack += 0.5;
        }
        if (made.window.reduce == Reduce::kMax) {
          expected = sum.best;
          slack = 0;
        }
      }
      if (std::abs(got - expected) > slack) std::printf("%g, not %g\n", got, expected);
      CHECK(std::abs(got - expected) <= slack);
    }
    std::free(out);
  }
}

}  // namespace

NATIVE_TEST(device_taps_equal_the_walk) {
  Random random(3);
  for (int round = 0; round < 4000; ++round) {
    const auto edge = static_cast<Edge>(random.between(0, 2));
    const std::int64_t length = random.between(1, 24);
    const std::int64_t dilation = random.between(1, 3);
    std::int64_t size = random.between(1, 12);
    if (edge != Edge::kPad && dilation * (size - 1) + 1 > length) size = 1;
    const GridAxis grid = make_axis(length, size, random.between(1, 9), dilation, edge);
    const auto mode = static_cast<PadMode>(random.between(0, 3));
    const auto axis = make_tap_axis<std::uint32_t>(grid, mode);
    for (std::int64_t position = 0; position < length; ++position) {
      std::vector<Tap> expected;
      append_folded_taps(grid, mode, position, expected);
      std::vector<Tap> got;
      TapCursor<std::uint32_t> cursor{};
      bool more = cursor.begin(axis, static_cast<std::uint32_t>(position));
      for (; more; more = cursor.next(axis)) got.push_back({cursor.window, cursor.tap});
      CHECK(got.size() == expected.size());
      for (std::size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
        CHECK(got[i].window == expected[i].window && got[i].index == expected[i].index);
      }
    }
  }
}

// Whatever the length, a thread looks at the windows over its position and at the padded ones.
NATIVE_TEST(device_taps_are_few) {
  Random random(10);
  for (int round = 0; round < 40; ++round) {
    const std::int64_t length = random.between(3000, 4000);
    const GridAxis grid =
        make_axis(length, random.between(1, 90), random.between(1, 40), 1, Edge::kPad);
    const auto mode = static_cast<PadMode>(random.between(0, 3));
    const auto axis = make_tap_axis<std::uint32_t>(grid, mode);
    const auto most = static_cast<std::uint32_t>(extent(grid) / grid.stride + 1);
    CHECK(axis.fold == PadMode::kConstant || axis.count - axis.tail <= most);
    for (std::int64_t position = 0; position < length; ++position) {
      TapCursor<std::uint32_t> cursor{};
      std::size_t got = 0;
      bool more = cursor.begin(axis, static_cast<std::uint32_t>(position));
      for (; more; more = cursor.next(axis)) ++got;
      CHECK(cursor.direct - cursor.first <= most);
      CHECK(cursor.end == cursor.direct || cursor.end == axis.count);
      std::vector<Tap> expected;
      append_folded_taps(grid, mode, position, expected);
      CHECK(got == expected.size());
    }
  }
}

// Tables of sums, short or not, say the same of every position.
NATIVE_TEST(short_tables_hold_every_position) {
  Random random(11);
  std::int64_t left_out = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto edge = static_cast<Edge>(random.between(0, 2));
    const std::int64_t length = random.between(1, 90);
    const std::int64_t dilation = random.between(1, 3);
    std::int64_t size = random.between(1, 12);
    if (edge != Edge::kPad && dilation * (size - 1) + 1 > length) size = 1;
    const GridAxis axis = make_axis(length, size, random.between(1, 9), dilation, edge);
    const LeftOut out = equal_periods(axis);
    left_out += out.periods;
    const GridShape whole{1, PadMode::kConstant, {axis}};
    const GridShape small{1, PadMode::kConstant, {shortened(axis, out)}};
    MergeWindow windows[2];
    int bad = 0;
    for (MergeWindow& window : windows) window.axes.resize(1);
    if (random.chance(70)) {
      for (std::int64_t k = 0; k < size; ++k) {
        const double weight = static_cast<double>(random.between(1, 999)) / 700;
        for (MergeWindow& window : windows) window.axes[0].weights.push_back(weight);
      }
    }
    CHECK(prepare(whole, windows[0], bad) && prepare(small, windows[1], bad));
    CHECK(windows[0].axes[0].weights == windows[1].axes[0].weights);
    for (std::int64_t position = 0; position < length; ++position) {
      const auto entry = static_cast<std::size_t>(out.entry(position, axis.stride));
      const auto at = static_cast<std::size_t>(position);
      CHECK(windows[0].axes[0].sums[at] == windows[1].axes[0].sums[entry]);
      CHECK(windows[0].axes[0].inverse[at] == windows[1].axes[0].inverse[entry]);
    }
  }
  CHECK(left_out > 1000);
}

NATIVE_TEST(device_merge_equals_loops) {
  int wide_seen = 0;
  check_merges<float>(Dtype::kF32, 4, wide_seen);
  check_merges<double>(Dtype::kF64, 5, wide_seen);
  check_merges<Half>(Dtype::kF16, 6, wide_seen);
  check_merges<BFloat16>(Dtype::kBF16, 7, wide_seen);
  check_merges<std::uint8_t>(Dtype::kU8, 8, wide_seen);
  check_merges<std::int16_t>(Dtype::kI16, 9, wide_seen);
  CHECK(wide_seen > 200);
}
