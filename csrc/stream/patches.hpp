// Images and videos into the patches of a model: cut, put in the model's order, scaled and cast in
// one pass.
//
// Item i holds `frames` frames of rows x columns pixels and gives t x h x w patches, each of
// (frames_per_patch, patch_rows, patch_columns, channels) values; a frame past the last is the last
// one again. Patches come by time; inside a time in groups of merge x merge neighbours, the groups
// and the patches of a group row by row. Inside a patch the value at (frame, row, column, channel)
// lies at the sum of these times `steps`.
//
//   kLinear   out = x * scale[channel] + shift[channel], two roundings in float32
//   kDivide   out = (x - shift[channel]) / scale[channel]
//   kShares   out = (x / 255 - shift[channel]) / scale[channel], each step rounded to float32
//   kTable    out = table[channel][x], bytes only
//
// Which input goes which way: where the columns of a patch lie side by side (column_step 1), or its
// channels and then its columns do, rows of the image are laid ready and computed in lanes, patch
// by patch in the output's order; else, and by a table, value by value.
//
// Twin: tokfrag.reference.patches.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag {

enum class PatchFormula : std::int32_t { kLinear, kDivide, kShares, kTable };

struct PatchItem {
  const void* data;
  std::int64_t frame_stride, row_stride, column_stride, channel_stride;  // in bytes
  std::int64_t frames;
  std::int64_t t, h, w;                   // patches along each axis; h and w multiples of merge
  std::int64_t first_patch, first_strip;  // among those of all items
};

struct PatchTask {
  const PatchItem* items;
  std::int64_t item_count;
  std::int64_t strips;  // of all items
  std::int64_t frames_per_patch, patch_rows, patch_columns, channels, merge;
  std::int64_t frame_step, row_step, column_step, channel_step;  // values, inside a patch
  Dtype type;                                                    // kU8 or kF32
  Dtype out_type;  // kU8 (kTable alone), kF16, kBF16 or kF32
  PatchFormula formula;
  const void* table;   // channels x 256 of out_type
  const float* scale;  // one a channel
  const float* shift;
  void* out;
  bool past_caches;  // set by patchify()
};

// Strips [begin, end) of a task: strip s of an item holds the patches of one time and one row of
// groups.
struct PatchKernels {
  void (*run)(const PatchTask& task, std::int64_t begin, std::int64_t end);
};
TOKFRAG_ISA_TABLE(PatchKernels, patch_kernel_table, patch_kernels)

void patchify(PatchTask task, int threads);

}  // namespace tokfrag
