// From the sums of blocks to those of the windows that are runs of them.
#pragma once

#include "fragments/features/blocks.hpp"

namespace tokfrag {

struct WindowTask {
  BlockSums blocks;
  const std::int64_t* first;  // of a window's blocks
  const std::int64_t* last;   // past them
  std::int64_t count;
  std::int64_t even;  // the first windows that are each as many blocks, from the window's number on
  bool wild;          // some extreme may be NaN
  double values;      // of a window
  const std::int64_t* lags;
  std::int64_t lag_count;
  // One a window; null if not wanted.
  double* mean;
  double* squares;  // about the mean; 0 exactly if all values are equal
  double* least;
  double* greatest;
  double* steps;
  double* products;  // about the mean, (lag_count, count)
};

struct JoiningKernels {
  void (*join)(const WindowTask& task);
};

TOKFRAG_ISA_TABLE(JoiningKernels, joining_kernel_table, joining_kernels)

}  // namespace tokfrag
