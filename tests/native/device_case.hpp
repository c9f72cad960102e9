// Random grids and arrays for the tests of what CUDA threads do, run here on the host.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "fragments/grid/layout.hpp"

namespace tokfrag_test {

using tokfrag::Edge;
using tokfrag::GridShape;
using tokfrag::PadMode;

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  // least to most, both included
  std::int64_t between(std::int64_t least, std::int64_t most) {
    return least +
           static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(most - least + 1));
  }
  bool chance(int percent) { return between(1, 100) <= percent; }
  double number() { return static_cast<double>(between(-1000, 1000)) / 64.0; }

 private:
  std::mt19937_64 engine_;
};

// A grid, the shapes of (batch, channels, *shape) and its fragments, and how they lie in memory.
struct DeviceCase {
  GridShape grid;
  std::int64_t batch;
  std::int64_t channels;
  bool channels_last;
  std::int64_t item;
  std::vector<std::int64_t> data_shape;
  std::vector<std::int64_t> fragment_shape;
  std::vector<std::int64_t> data_strides;  // bytes
  std::vector<std::int64_t> fragment_strides;
  std::int64_t data_bytes;
  std::int64_t fragment_bytes;

  tokfrag::GridLayout layout(const bool* keep_axis = nullptr) const {
    return tokfrag::make_layout(grid, channels_last, item, batch, channels, data_strides.data(),
                                fragment_strides.data(), keep_axis);
  }
};

inline std::int64_t product(const std::vector<std::int64_t>& numbers) {
  std::int64_t result = 1;
  for (const std::int64_t number : numbers) result *= number;
  return result;
}

// Strides of an array whose rows may have bytes to spare; returns how many bytes it takes.
inline std::int64_t lay_out(Random& random, const std::vector<std::int64_t>& shape,
                            std::int64_t item, bool spare, std::vector<std::int64_t>& strides) {
  strides.assign(shape.size(), 0);
  std::int64_t stride = item;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= shape[axis];
    if (spare && random.chance(30)) stride += item * random.between(1, 8);
  }
  return stride;
}

inline DeviceCase random_case(Random& random, std::int64_t item, bool spare_data) {
  DeviceCase made{};
  made.item = item;
  made.batch = random.between(1, 2);
  made.channels = random.between(1, 3);
  made.channels_last = random.chance(50);
  made.grid.rank = static_cast<int>(random.between(1, 4));
  made.grid.pad_mode = static_cast<PadMode>(random.between(0, 3));
  const auto edge = static_cast<Edge>(random.between(0, 2));
  // Multiples of `unit` here and there, so that wide units occur.
  const std::int64_t unit = random.chance(50) ? 1 : 4;
  const std::int64_t most = made.grid.rank == 1 ? 20 : (made.grid.rank == 2 ? 8 : 4);
  for (int axis = 0; axis < made.grid.rank; ++axis) {
    const bool last = axis == made.grid.rank - 1;
    const std::int64_t scale = last ? unit : 1;
    const std::int64_t length = scale * random.between(1, most);
    const std::int64_t dilation = random.chance(25) ? random.between(2, 3) : 1;
    std::int64_t size = scale * random.between(1, most);
    if (edge != Edge::kPad && dilation * (size - 1) + 1 > length) size = 1;
    std::int64_t stride = scale * random.between(1, most);
    if (last && random.chance(20)) ++stride;
    made.grid.axes[axis] = tokfrag::make_axis(length, size, stride, dilation, edge);
  }
  std::vector<std::int64_t> lengths;
  std::vector<std::int64_t> sizes;
  std::int64_t windows = 1;
  for (int axis = 0; axis < made.grid.rank; ++axis) {
    lengths.push_back(made.grid.axes[axis].length);
    sizes.push_back(made.grid.axes[axis].size);
    windows *= made.grid.axes[axis].count;
  }
  if (made.channels_last) {
    lengths.push_back(made.channels);
    sizes.push_back(made.channels);
  } else {
    lengths.insert(lengths.begin(), made.channels);
    sizes.insert(sizes.begin(), made.channels);
  }
  made.data_shape = lengths;
  made.data_shape.insert(made.data_shape.begin(), made.batch);
  made.fragment_shape = sizes;
  made.fragment_shape.insert(made.fragment_shape.begin(), {made.batch, windows});
  made.data_bytes =
      lay_out(random, made.data_shape, item, spare_data && random.chance(50), made.data_strides);
  made.fragment_bytes = lay_out(random, made.fragment_shape, item, false, made.fragment_strides);
  return made;
}

// Counts through the elements of a fragment array: calls visit(batch, window, index in it, byte
// offset in the fragments, position of each axis beyond its window's start, channel).
template <class Visit>
void for_each_fragment_element(const DeviceCase& at, const Visit& visit) {
  const std::int64_t total = product(at.fragment_shape);
  for (std::int64_t number = 0; number < total; ++number) {
    std::int64_t rest = number;
    std::vector<std::int64_t> digits(at.fragment_shape.size());
    std::int64_t offset = 0;
    for (std::size_t axis = digits.size(); axis-- > 0;) {
      digits[axis] = rest % at.fragment_shape[axis];
      rest /= at.fragment_shape[axis];
      offset += digits[axis] * at.fragment_strides[axis];
    }
    const std::size_t first = at.channels_last ? 2 : 3;
    std::int64_t window = digits[1];
    std::int64_t padded[tokfrag::kMaxAxes];
    std::int64_t taps[tokfrag::kMaxAxes];
    for (int axis = at.grid.rank - 1; axis >= 0; --axis) {
      const tokfrag::GridAxis& own = at.grid.axes[axis];
      taps[axis] = digits[first + static_cast<std::size_t>(axis)];
      padded[axis] = window_start(own, window % own.count) + own.dilation * taps[axis];
      window /= own.count;
    }
    const std::int64_t channel = digits[at.channels_last ? digits.size() - 1 : 2];
    visit(digits[0], digits[1], offset, padded, taps, channel);
  }
}

inline std::int64_t data_offset(const DeviceCase& at, std::int64_t batch, std::int64_t channel,
                                const std::int64_t* positions) {
  const std::size_t first = at.channels_last ? 1 : 2;
  std::int64_t offset =
      batch * at.data_strides[0] +
      channel * at.data_strides[at.channels_last ? at.data_strides.size() - 1 : 1];
  for (int axis = 0; axis < at.grid.rank; ++axis) {
    offset += positions[axis] * at.data_strides[first + static_cast<std::size_t>(axis)];
  }
  return offset;
}

}  // namespace tokfrag_test
