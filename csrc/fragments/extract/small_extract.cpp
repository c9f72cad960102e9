#include "fragments/extract/small_extract.hpp"

#include <algorithm>
#include <cstring>

#include "fragments/extract/extract.hpp"
#include "fragments/grid/walk.hpp"

namespace tokfrag {

namespace {

// Numbers up to which finding out where they come from takes longer than copying them.
constexpr std::int64_t kMostNumbers = 1024;
constexpr std::int64_t kPadded = INT64_MIN;

bool is_small(const GridShape& grid, std::int64_t batch, std::int64_t channels) {
  std::int64_t data = batch;
  std::int64_t fragments = batch;
  // One by one: a product of all may be too large for an integer.
  const auto grow = [](std::int64_t& numbers, std::int64_t by) {
    numbers = by > kMostNumbers ? kMostNumbers + 1 : numbers * by;
    return numbers <= kMostNumbers;
  };
  bool small = batch <= kMostNumbers && grow(data, channels) && grow(fragments, channels);
  for (int axis = 0; axis < grid.rank && small; ++axis) {
    const GridAxis& at = grid.axes[axis];
    small = grow(data, at.length) && grow(fragments, at.count) && grow(fragments, at.size);
  }
  return small && fragments > 0;
}

}  // namespace

std::unique_ptr<const SmallExtract> SmallExtract::make(const GridShape& grid, bool channels_last,
                                                       std::int64_t item, const std::int64_t* shape,
                                                       const std::int64_t* strides) {
  const int rank = grid.rank + 2;
  const std::int64_t channels = shape[channels_last ? rank - 1 : 1];
  if (!is_small(grid, shape[0], channels)) return nullptr;
  std::unique_ptr<SmallExtract> made(new SmallExtract());
  made->item_ = item;
  made->batch_ = shape[0];
  made->batch_step_ = strides[0];
  // An array of the places of the data's numbers is cut as the data would be.
  constexpr std::int64_t kPlaceBytes = sizeof(std::int64_t);
  std::vector<std::int64_t> places;
  Odometer numbers;
  numbers.axes = rank - 1;
  std::copy(shape + 1, shape + rank, numbers.length);
  for (std::int64_t left = numbers.total(); left > 0; --left, numbers.advance()) {
    std::int64_t place = 0;
    for (int axis = 1; axis < rank; ++axis) place += numbers.position[axis - 1] * strides[axis];
    places.push_back(place);
  }
  std::int64_t fragment_shape[kMaxAxes + 3] = {1, 1};
  int to = 2;
  std::int64_t count = channels;
  if (!channels_last) fragment_shape[to++] = channels;
  for (int axis = 0; axis < grid.rank; ++axis) {
    const GridAxis& at = grid.axes[axis];
    fragment_shape[to++] = at.size;
    fragment_shape[1] *= at.count;
    count *= at.count * at.size;
  }
  if (channels_last) fragment_shape[to] = channels;
  std::int64_t from_strides[kMaxAxes + 2];
  std::int64_t to_strides[kMaxAxes + 3];
  contiguous_strides(shape, rank, kPlaceBytes, from_strides);
  contiguous_strides(fragment_shape, rank + 1, kPlaceBytes, to_strides);
  made->sources_.resize(static_cast<std::size_t>(count));
  extract(
      make_layout(grid, channels_last, kPlaceBytes, 1, channels, from_strides, to_strides, nullptr),
      places.data(), made->sources_.data(), &kPadded, 1);
  return made;
}

template <int Item>
void SmallExtract::copy(const char* data, char* fragments, const char* pad_value) const {
  for (std::int64_t batch = 0; batch < batch_; ++batch, data += batch_step_) {
    for (const std::int64_t source : sources_) {
      std::memcpy(fragments, source == kPadded ? pad_value : data + source, Item);
      fragments += Item;
    }
  }
}

void SmallExtract::run(const void* data, void* fragments, const void* pad_value) const {
  const auto* from = static_cast<const char*>(data);
  auto* to = static_cast<char*>(fragments);
  const auto* pad = static_cast<const char*>(pad_value);
  switch (item_) {
    case 1:
      return copy<1>(from, to, pad);
    case 2:
      return copy<2>(from, to, pad);
    case 4:
      return copy<4>(from, to, pad);
    case 8:
      return copy<8>(from, to, pad);
    default:
      return copy<16>(from, to, pad);
  }
}

}  // namespace tokfrag
