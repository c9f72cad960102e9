// The inner loops of merge for tiles (merge_tile_kernel.hpp) under whole-window weights.
#pragma once

#include "fragments/merge/tile_kernel.hpp"

namespace tokfrag {

struct WholeTile {
  MergeTile tile;       // its weights and factors are not used
  const double* whole;  // weights, by place and column
  bool constant;        // the same one for all of the stretch
  bool mean;
  const double*
      norms;  // of a mean, as `sum_weights` makes them, row after row; null: made on the way
};

struct MergeWholeKernels {
  // out[i] = sum over columns and places of whole[place + column + i] * fragments[i], for a mean
  // normalised. False if weights that were summed on the way come to zero, or to no finite number.
  bool (*merge[kDtypes])(const WholeTile& whole);
  // What normalises a mean: the sums of the weights (`divides`), or one over them. False as above.
  bool (*sum_weights)(const WholeTile& whole, bool divides, double* norms);
};

TOKFRAG_ISA_TABLE(MergeWholeKernels, merge_whole_kernels_table, merge_whole_kernels)

}  // namespace tokfrag
