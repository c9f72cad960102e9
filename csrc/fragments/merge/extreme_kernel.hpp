// The largest or smallest of what lies over a position.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag {

struct ExtremeKernels {
  // best[i] = max(best, from[i]) or min, NaN if either is; `count` positions of `width` numbers,
  // those of `best` `step` numbers apart.
  using Keep = void (*)(void* best, std::int64_t step, const char* from, std::int64_t count,
                        std::int64_t width);
  Keep keep_max[kDtypes];
  Keep keep_min[kDtypes];
};

TOKFRAG_ISA_TABLE(ExtremeKernels, extreme_kernels_table, extreme_kernels)

}  // namespace tokfrag
