// How rows of a segment are added up, on the host and on a GPU.
#pragma once

#include <cstdint>

namespace tokfrag {

// Rows added up in the accumulator before double takes over: both must agree, or bits differ.
constexpr std::int64_t kSegmentRun = 16;

}  // namespace tokfrag
