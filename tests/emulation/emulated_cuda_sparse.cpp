// The sparse products of the CUDA module, their blocks run on the host one after the other and each
// step between two barriers thread after thread; see emulated_cuda.cpp.
#include <vector>

#include "core/device/numbers.hpp"
#include "sparse/cuda_kernels.hpp"

namespace tokfrag::sparse {

template <>
struct Number<Half> {
  using Real = float;
  static float widen(Half number) { return value_of(number); }
  static Half narrow(float number) { return number_of<Half>(number); }
};

template <>
struct Number<BFloat16> {
  using Real = float;
  static float widen(BFloat16 number) { return value_of(number); }
  static BFloat16 narrow(float number) { return number_of<BFloat16>(number); }
};

namespace {

template <class Step>
void every_thread(const Step& step) {
  for (int thread = 0; thread < kSparseThreads; ++thread) step(thread);
}

template <class E, int kWide>
void run_tiles(const MultiplyTask& task) {
  using T = Real<E>;
  const TileGrid& grid = task.matrix.grid;
  for (std::int64_t block = 0; block < product_blocks<kWide>(task); ++block) {
    const ProductPlace place = product_place<kWide>(task, block);
    std::vector<T> panel(kPanelNumbers<kWide>);
    T sums[kSparseThreads][kLaneRows<kWide>][kQuad] = {};
    for (std::int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
      const E* lines =
          static_cast<const E*>(task.x) + place.first_input * grid.columns + chunk * kTile;
      every_thread([&](int thread) {
        stage_panel<E, kWide * kWarpLanes>(lines, grid.columns, place.inputs,
                                           grid.chunk_columns(chunk), thread, panel.data());
      });
      every_thread([&](int thread) {
        add_chunk<E, kWide>(task, place, chunk, thread, panel.data(), sums[thread]);
      });
    }
    every_thread([&](int thread) { put_sums<T, kWide>(thread, sums[thread], panel.data()); });
    every_thread([&](int thread) { write_sums<E, kWide>(task, place, thread, panel.data()); });
  }
}

template <class E>
void run_rows(const MultiplyTask& task) {
  constexpr int kInputs = static_cast<int>(kFewInputs);
  for (std::int64_t row = 0; row < task.matrix.grid.rows; ++row) {
    Real<E> parts[kWarpLanes][kInputs];
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      row_part<E, kInputs>(task, row, lane, parts[lane]);
    }
    for (int input = 0; input < task.batch; ++input) {
      for (int step = kWarpLanes / 2; step > 0; step /= 2) {
        for (int lane = 0; lane < step; ++lane) parts[lane][input] += parts[lane + step][input];
      }
      write_row<E>(task, input, row, parts[0][input]);
    }
  }
}

template <class E>
void run(const MultiplyTask& task) {
  if (task.batch <= kFewInputs) return run_rows<E>(task);
  if (sizeof(Real<E>) == 4 && task.batch > kWarpLanes) return run_tiles<E, 2>(task);
  run_tiles<E, 1>(task);
}

template <class E>
void run(const SampleTask& task) {
  using T = Real<E>;
  constexpr int kLanes = kSampleLanes<T>;
  std::vector<T> grad_panel(kTile * panel_stride(kLanes));
  std::vector<T> x_panel(kTile * panel_stride(kLanes));
  for (std::int64_t block = 0; block < sample_blocks(task); ++block) {
    const SamplePlace place = sample_place(task, block);
    T sums[kSparseThreads][kEntries] = {};
    for (std::int64_t input = 0; input < task.batch; input += kLanes) {
      every_thread([&](int thread) {
        stage_sample<E>(task, place, input, thread, grad_panel.data(), x_panel.data());
      });
      every_thread([&](int thread) {
        add_samples<E>(task, place, thread, grad_panel.data(), x_panel.data(), sums[thread]);
      });
    }
    every_thread([&](int thread) { write_samples<E>(task, place, thread, sums[thread]); });
  }
}

template <class Task>
void choose(const Task& task, Element element) {
  if (element == kFloat16) return run<Half>(task);
  if (element == kBFloat16) return run<BFloat16>(task);
  if (element == kFloat32) return run<float>(task);
  run<double>(task);
}

}  // namespace

void multiply_cuda(const MultiplyTask& task, Element element, cudaStream_t) {
  choose(task, element);
}

void sample_cuda(const SampleTask& task, Element element, cudaStream_t) { choose(task, element); }

}  // namespace tokfrag::sparse
