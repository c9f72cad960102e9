// From the sums of windows to their features.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "core/isa.hpp"
#include "fragments/features/features.hpp"

namespace tokfrag {

struct ResultColumn {
  Feature feature;
  std::int64_t lag;  // of kLagCorr: which of the ascending lags
};

// The sums lie window after window, slot after slot; kResultSlack may be read past the last.
constexpr std::int64_t kResultSlack = 8;
struct ResultTask {
  const double* sums;
  SumSlots slots;
  std::int64_t count;       // windows
  double values;            // of a window
  double neighbours;        // pairs of a window one step apart
  const double* lag_pairs;  // pairs of a window, for each lag; null without any
  bool central;             // sums are means, squares and products about them; no edges
  double shift;             // else about this
  const ResultColumn* columns;
  std::int64_t column_count;
  void* out;              // the first window's row
  std::int64_t out_step;  // values from a window's row to the next one's
};

// A variance of less than this part of the energy has lost too much to rounding; energies beyond
// these have, or will when divided by, left what a double holds.
constexpr double kIllConditioned = 1e-6;
constexpr double kLeastEnergy = 1e-280;
constexpr double kGreatestEnergy = 1e280;

struct ResultKernels {
  // For each floating type of the result. True if any window was ill-conditioned; sums about the
  // means are not.
  bool (*write[kDtypes])(const ResultTask& task);
};

TOKFRAG_ISA_TABLE(ResultKernels, result_kernel_table, result_kernels)

}  // namespace tokfrag
