// Random grids of one to three axes: what is cut out and merged again is what it was, wherever a
// fragment covers it, and nothing outside the arrays is touched.
#include <vector>

#include "fragments/extract/extract.hpp"
#include "fragments/merge/merge.hpp"
#include "input.hpp"

namespace {

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t all = 1;
  for (const std::int64_t length : shape) all *= length;
  return all;
}

std::vector<std::int64_t> strides_of(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size());
  tokfrag::contiguous_strides(shape.data(), static_cast<int>(shape.size()), sizeof(float),
                              strides.data());
  return strides;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  tokfrag::GridShape grid{};
  grid.rank = static_cast<int>(input.between(1, 3));
  grid.pad_mode = static_cast<tokfrag::PadMode>(input.below(4));
  const auto edge = static_cast<tokfrag::Edge>(input.below(3));
  const bool last = input.byte() % 2 == 0;
  const std::int64_t batch = input.between(1, 2);
  const std::int64_t channels = input.between(1, 3);
  std::vector<std::int64_t> shape{batch};
  std::vector<std::int64_t> pieces{batch, 1};
  for (int axis = 0; axis < grid.rank; ++axis) {
    const std::int64_t length = input.between(1, grid.rank == 1 ? 90 : 12);
    const std::int64_t dilation = input.between(1, 3);
    const std::int64_t taps = input.between(1, (length - 1) / dilation + 1);
    grid.axes[axis] = tokfrag::make_axis(length, taps, input.between(1, taps + 1), dilation, edge);
    pieces[1] *= grid.axes[axis].count;
    shape.push_back(length);
    pieces.push_back(taps);
  }
  shape.insert(last ? shape.end() : shape.begin() + 1, channels);
  pieces.insert(last ? pieces.end() : pieces.begin() + 2, channels);
  std::vector<float> x(static_cast<std::size_t>(product(shape)));
  for (float& value : x) value = static_cast<float>(input.byte());
  std::vector<float> fragments(static_cast<std::size_t>(product(pieces)));
  const float pad = 7;
  const auto data_strides = strides_of(shape);
  const auto piece_strides = strides_of(pieces);
  tokfrag::extract(tokfrag::make_layout(grid, last, sizeof(float), batch, channels,
                                        data_strides.data(), piece_strides.data(), nullptr),
                   x.data(), fragments.data(), &pad, 1);
  tokfrag::MergeWindow window;
  window.axes.resize(static_cast<std::size_t>(grid.rank));
  int axis = 0;
  fuzz::check(tokfrag::prepare(grid, window, axis), "a uniform window has no sum of zero");
  const bool keep[tokfrag::kMaxAxes] = {};
  std::vector<float> merged(x.size(), -1);
  const float fill = -5;
  tokfrag::merge(tokfrag::make_layout(grid, last, sizeof(float), batch, channels,
                                      data_strides.data(), piece_strides.data(), keep),
                 grid, window, tokfrag::Dtype::kF32, fragments.data(), merged.data(), &fill, 1);
  for (std::size_t i = 0; i < x.size(); ++i) {
    fuzz::check(merged[i] == x[i] || merged[i] == fill, "merging undoes cutting");
  }
  return 0;
}
