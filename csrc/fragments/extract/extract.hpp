// extract: cut an array into the fragments of a grid.
//
//   fragments[b, i, k] = data[b, source(start(i) + dilation * k)]      (every axis alike)
//
// where source() is the position itself, or what the grid's pad mode makes of one beyond the axis.
#pragma once

#include <cstdint>

#include "fragments/grid/layout.hpp"

namespace tokfrag {

// Copies bytes, so any type of `layout.item` bytes goes. `fragments` must not overlap `data`, and
// is written whole. `pad_value`: `layout.item` bytes, what constant padding writes. Reads every
// input row once and writes it into all fragments that hold it; reads and writes nothing else.
void extract(const GridLayout& layout, const void* data, void* fragments, const void* pad_value,
             int threads);

}  // namespace tokfrag
