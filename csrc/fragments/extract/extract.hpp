// extract: cut an array into the fragments of a grid.
//
//   fragments[b, i, k] = data[b, source(start(i) + dilation * k)]      (every axis alike)
//
// where source() is the position itself, or what the grid's pad mode makes of one beyond the axis.
#pragma once

#include <cstdint>

#include "fragments/extract/conversion.hpp"
#include "fragments/grid/layout.hpp"

namespace tokfrag {

// Copies bytes, so any type of `layout.item` bytes goes. `fragments` must not overlap `data`, and
// is written whole. `pad_value`: `layout.item` bytes, what constant padding writes. Reads every
// input row once and writes it into all fragments that hold it; reads and writes nothing else.
void extract(const GridLayout& layout, const void* data, void* fragments, const void* pad_value,
             int threads);

// The same with every number converted on its way, each once and before it is copied into the
// fragments that hold it. The layout is of numbers of conversion.out_type, the data's strides as if
// it were of that type too; no grid axis has melted into its element. `pad_value` is of
// conversion.type.
void extract_converted(const GridLayout& layout, const Conversion& conversion, const void* data,
                       void* fragments, const void* pad_value, int threads);

}  // namespace tokfrag
