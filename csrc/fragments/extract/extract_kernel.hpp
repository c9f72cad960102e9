// The inner loops of extract, one table for each instruction set.
#pragma once

#include <cstdint>

#include "core/isa.hpp"

namespace tokfrag {

struct ExtractKernels {
  // Copies `rows` rows of `bytes` bytes. `stream`: around the cache where the rows are whole cache
  // lines; then `fence` must follow before another thread may read them.
  void (*copy_rows)(char* to, std::int64_t to_step, const char* from, std::int64_t from_step,
                    std::int64_t bytes, std::int64_t rows, bool stream);
  // Copies `rows` cache lines, each of `parts` short rows (whole lines in all) that lie `part_step`
  // bytes apart in `from`.
  void (*copy_groups)(char* to, std::int64_t to_step, const char* from, std::int64_t from_step,
                      std::int64_t rows, std::int64_t parts, std::int64_t part_step, bool stream);
  // Gathers `count` elements of `element` bytes that lie `step` bytes apart.
  void (*gather)(char* to, const char* from, std::int64_t step, std::int64_t element,
                 std::int64_t count);
  void (*fence)();
};

TOKFRAG_ISA_TABLE(ExtractKernels, extract_kernels_table, extract_kernels)

}  // namespace tokfrag
