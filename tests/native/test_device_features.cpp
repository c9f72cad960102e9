// What the lanes of the CUDA features do, run here one after the other.
#include <cmath>
#include <cstring>
#include <vector>

#include "check.hpp"
#include "device_case.hpp"
#include "fragments/features/device.hpp"

namespace {

using namespace tokfrag;
using namespace tokfrag_test;

// The lanes of a warp, their sums added as add_lanes in features.cu adds them.
template <class Sums, class Pass>
Sums run_lanes(std::uint32_t lanes, const Pass& pass) {
  std::vector<Sums> sums;
  for (std::uint32_t lane = 0; lane < lanes; ++lane) sums.push_back(pass(lane));
  for (std::uint32_t apart = lanes / 2; apart > 0; apart /= 2) {
    for (std::uint32_t lane = 0; lane < apart; ++lane) add_sums(sums[lane], sums[lane + apart]);
  }
  return sums[0];
}

template <class T, class Out>
void run_features(const DeviceFeaturePlan& plan, std::uint32_t lanes) {
  for (std::int64_t item = 0; item < plan.batch * plan.windows * plan.channels; ++item) {
    const FeatureWindow at = find_window(plan, item);
    const auto first = run_lanes<FirstSums>(
        lanes, [&](std::uint32_t lane) { return first_pass<T>(plan, at, lane, lanes); });
    const double mean = window_mean<T>(plan, at, first);
    const auto second = run_lanes<SecondSums>(
        lanes, [&](std::uint32_t lane) { return second_pass<T>(plan, at, mean, lane, lanes); });
    write_features<Out>(plan, at, mean, first, second);
  }
}

// The definition, for one window: its values, `block` of them from one time to the next but `size`.
std::vector<double> features_in_loops(const std::vector<double>& values, std::int64_t step,
                                      std::int64_t size, const std::vector<std::int64_t>& lags) {
  const auto count = static_cast<std::int64_t>(values.size());
  const auto at = [&](std::int64_t i) { return values[static_cast<std::size_t>(i)]; };
  double sum = 0;
  double least = at(0);
  double greatest = at(0);
  for (const double value : values) {
    sum += value;
    least = std::min(least, value);
    greatest = std::max(greatest, value);
  }
  const double mean = sum / static_cast<double>(count);
  double energy = 0;
  for (const double value : values) energy += (value - mean) * (value - mean);
  double differences = 0;
  std::int64_t pairs = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (i / step % size + 1 >= size) continue;
    differences += (at(i + step) - at(i)) * (at(i + step) - at(i));
    ++pairs;
  }
  std::vector<double> result = {mean, std::sqrt(energy / static_cast<double>(count)), least,
                                greatest,
                                pairs > 0 ? differences / static_cast<double>(pairs) : 0.0};
  for (const std::int64_t lag : lags) {
    double products = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      if (i / step % size + lag >= size) continue;
      products += (at(i) - mean) * (at(i + lag * step) - mean);
    }
    result.push_back(least == greatest ? 0.0 : products / energy);
  }
  return result;
}

template <class T, class Out>
void check_features(std::uint32_t seed, double tolerance) {
  Random random(seed);
  for (int round = 0; round < 400; ++round) {
    DeviceCase made = random_case(random, sizeof(T), true);
    if (made.channels_last) continue;
    const GridShape& grid = made.grid;
    const auto time = static_cast<int>(random.between(0, grid.rank - 1));
    std::vector<T> x(static_cast<std::size_t>(made.data_bytes) / sizeof(T));
    for (T& number : x) number = static_cast<T>(random.between(0, 100));
    std::vector<int> codes = {0, 1, 2, 3, 4};
    std::vector<std::int64_t> lags;
    const std::int64_t most_lags = random.between(0, 19);
    for (std::int64_t k = 0; k < most_lags && grid.axes[time].size > 1; ++k) {
      lags.push_back(random.between(1, grid.axes[time].size - 1));
      codes.push_back(5);
    }
    const std::size_t columns = codes.size();
    const auto windows = static_cast<std::size_t>(made.fragment_shape[1]);
    const auto channels = static_cast<std::size_t>(made.channels);
    std::vector<Out> out(static_cast<std::size_t>(made.batch) * windows * channels * columns);
    DeviceFeaturePlan plan =
        make_feature_plan(grid, time, 7.0, made.batch, made.channels, made.data_strides.data(),
                          x.data(), out.data(), static_cast<int>(columns));
    for (const FeatureColumns& launch : split_columns(codes, lags)) {
      plan.columns = launch;
      run_features<T, Out>(plan, random.chance(50) ? 32 : 256);
    }

    std::vector<std::vector<double>> values(out.size() / columns);
    for_each_fragment_element(made, [&](std::int64_t batch, std::int64_t window, std::int64_t,
                                        std::int64_t* positions, const std::int64_t*,
                                        std::int64_t channel) {
      double value = 7.0;
      bool inside = true;
      for (int axis = 0; axis < grid.rank; ++axis) {
        positions[axis] = source_position(grid.axes[axis].length, grid.pad_mode, positions[axis]);
        inside = inside && positions[axis] != kNoSource;
      }
      if (inside) {
        value = static_cast<double>(
            x[static_cast<std::size_t>(data_offset(made, batch, channel, positions)) / sizeof(T)]);
      }
      const auto at =
          (static_cast<std::size_t>(batch) * windows + static_cast<std::size_t>(window)) *
              channels +
          static_cast<std::size_t>(channel);
      values[at].push_back(value);
    });
    std::int64_t step = 1;
    for (int axis = time + 1; axis < grid.rank; ++axis) step *= grid.axes[axis].size;
    for (std::size_t at = 0; at < values.size(); ++at) {
      const auto expected = features_in_loops(values[at], step, grid.axes[time].size, lags);
      for (std::size_t k = 0; k < columns; ++k) {
        const auto got = static_cast<double>(out[at * columns + k]);
        CHECK(std::abs(got - expected[k]) <= tolerance * (1 + std::abs(expected[k])));
      }
    }
  }
}

}  // namespace

NATIVE_TEST(device_features_equal_loops) {
  check_features<double, double>(10, 1e-11);
  check_features<float, float>(11, 1e-6);
  check_features<std::uint8_t, float>(12, 1e-6);
  check_features<std::int64_t, float>(13, 1e-6);
}
