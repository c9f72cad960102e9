// A small extract that is made again and again: where each number comes from is found once and
// kept.
//
// Finding it out takes longer than copying a few hundred numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fragments/grid/layout.hpp"

namespace tokfrag {

class SmallExtract {
 public:
  // Null for what is not small. `shape`, (batch, channels, *space_time) or (batch, *space_time,
  // channels), and `strides`, in bytes, are those of the data.
  static std::unique_ptr<const SmallExtract> make(const GridShape& grid, bool channels_last,
                                                  std::int64_t item, const std::int64_t* shape,
                                                  const std::int64_t* strides);

  // As `extract` with the arguments that this was made of.
  void run(const void* data, void* fragments, const void* pad_value) const;

 private:
  SmallExtract() = default;
  template <int Item>
  void copy(const char* data, char* fragments, const char* pad_value) const;

  std::int64_t item_ = 0;
  std::int64_t batch_ = 0;
  std::int64_t batch_step_ = 0;        // bytes between the data of two
  std::vector<std::int64_t> sources_;  // of each number written, in bytes, or for the pad value
};

}  // namespace tokfrag
