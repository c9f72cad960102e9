// The inner loop of merge for tiles: several output rows over one stretch of the innermost axis,
// all of it under the same windows. Every number is read once and summed in registers.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"

namespace tokfrag {

// Where the fragments of one combination of outer windows lie, for one output row.
struct TilePlace {
  std::int64_t offset;  // bytes
  double weight;
  std::int64_t whole;  // where its row of whole-window weights begins
};

struct TileRow {
  const TilePlace* places;
  std::int64_t count;  // at least 1
  double scale;        // the row's sums are multiplied by this, or (integers, exact means) divided
};

// One window of the innermost axis.
struct TileColumn {
  std::int64_t offset;    // bytes from a place to the stretch's first number
  const double* weights;  // of the stretch's numbers; null: ones
  const float* singles;   // the same weights, times the factors; for halves summed in float32
  std::int64_t whole;     // from a place's row of whole-window weights to the stretch's first
};

struct MergeTile {
  const char* fragments;
  char* out;
  std::int64_t out_step;  // bytes between output rows
  const TileRow* rows;
  std::int64_t row_count;
  const TileColumn* columns;
  std::int64_t column_count;  // at least 1
  std::int64_t numbers;       // of the stretch
  double factor;              // of all the stretch's numbers, like `scale`
  const double* factors;      // of each of them; null: ones
  bool weighted;              // places have weights other than 1
  bool stream;                // store around the cache where whole lines allow; then fence
};

// A stretch under one window that takes its numbers as they are.
struct LonePiece {
  std::int64_t from;  // bytes from a row's place
  std::int64_t to;    // bytes from the output row's first piece
  std::int64_t bytes;
};

struct MergeTileKernels {
  // out[i] = scale * factors[i] * sum over columns of weights[i] * (sum over places of
  // weight * fragments[i]), as MergeKernels would have it, bit for bit; one function a type.
  void (*merge[kDtypes])(const MergeTile& tile);
  // The same for unweighted means of float64, whose sums are kept in two doubles.
  void (*merge_exact)(const MergeTile& tile);
  // The same for halves, summed in float32; in float64 what overflows.
  void (*merge_single[kDtypes])(const MergeTile& tile);
  // Copies pieces of the tile's rows, each of which has one place.
  void (*copy)(const MergeTile& tile, const LonePiece* pieces, std::int64_t count);
  void (*fence)();
};

TOKFRAG_ISA_TABLE(MergeTileKernels, merge_tile_kernels_table, merge_tile_kernels)

}  // namespace tokfrag
