// The sums of blocks that windows share, each about its own mean, and of the windows made of them.
#pragma once

#include <cstdint>

#include "core/isa.hpp"
#include "fragments/window_numbers/window_numbers.hpp"

namespace tokfrag {

// Values after a row's last that may be read and count for nothing.
constexpr std::int64_t kNumberSlack = 16;

// With p a number near the mean, d = y - p, j from 0 on.
struct NumberBlock {
  double total;
  double pivot;
  double least;
  double greatest;
  double residual;  // sum d
  double squares;   // sum d^2, and so on
  double cubes;
  double fourths;
  double trend;  // sum (j - (n - 1) / 2) d
  double changes;
  double change_out;  // to the value after the block
  double steps;       // their squares
  double step_out;
};

// cos(2 pi k t / n) and sin for t in [0, n], then kNumberSlack zeros; their sums over [0, t).
struct Harmonic {
  const double* cosines;
  const double* sines;
  const double* cosine_sums;
  const double* sine_sums;
};

// Extra sums of a block: two a harmonic (sum d cos, sum d sin, j from the block's first value on),
// then two a level (crossings inside, and the one to the value after it).
struct NumberBlockTask {
  const double* y;
  const std::int64_t* begins;
  const std::int64_t* lengths;
  std::int64_t count;
  bool wants_powers;  // cubes and fourths
  bool wants_lines;   // changes, steps and the trend
  const Harmonic* harmonics;
  std::int64_t harmonic_count;
  const double* levels;
  std::int64_t level_count;
  NumberBlock* blocks;
  double* extra;

  std::int64_t extra_width() const { return 2 * (harmonic_count + level_count); }
};

struct NumberWindowTask {
  NumberBlockTask summed;
  const std::int64_t* starts;  // relative to y
  const std::int64_t* first;   // of a window's blocks
  const std::int64_t* last;
  std::int64_t count;
  std::int64_t size;
  const NumberColumn* columns;
  const std::int64_t* places;  // kCosine, kSine, kCrossings: which harmonic or level
  std::int64_t column_count;
  double* out;            // the first window's row
  std::int64_t out_step;  // from a window's row to the next one's
};

struct NumberKernels {
  void (*sum_blocks)(const NumberBlockTask& task);
  // All columns but quantiles.
  void (*write_windows)(const NumberWindowTask& task);
};

TOKFRAG_ISA_TABLE(NumberKernels, number_kernel_table, number_kernels)

}  // namespace tokfrag
