// The middle or the most frequent of what lies over a position.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"
#include "fragments/merge/merge.hpp"

namespace tokfrag {

struct OrderKernels {
  // out[i] = the median, or the most frequent (of several the lowest), of from[0][i] ...
  // from[places - 1][i]. A median is the mean of the middle two, NaN if any number is.
  using Pick = void (*)(char* out, const char* const* from, std::int64_t places,
                        std::int64_t numbers);
  Pick median[kDtypes];  // null: int64 and bool
  Pick vote[kDtypes];    // null: floats
};

TOKFRAG_ISA_TABLE(OrderKernels, order_kernels_table, order_kernels)

}  // namespace tokfrag
