// A text that someone else owns.
#pragma once

#include <cstdint>

namespace tokfrag {

struct TextView {
  const std::uint8_t* data;
  std::int64_t size;
};

}  // namespace tokfrag
