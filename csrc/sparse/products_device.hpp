// Sparse products on a GPU: what one thread of a block does between two barriers. The .cu beside
// holds the barriers; the emulation in tests/ runs the same steps thread by thread on the host.
//
// Sums run chunk by chunk over a row's non-zeros in storage order, fused, one accumulator an
// output: the order of the CPU kernels, the same bits whatever the launch. Products of few inputs
// split a row over the lanes of a warp, and are added up in another order.
#pragma once

#include <cmath>
#include <cstdint>

#include "sparse/tiles.hpp"

#if defined(__CUDACC__)
#define TOKFRAG_SPARSE_UNROLL _Pragma("unroll")
#define TOKFRAG_SPARSE_UNROLL_4 _Pragma("unroll 4")
#else
#define TOKFRAG_SPARSE_UNROLL
#define TOKFRAG_SPARSE_UNROLL_4
#endif

namespace tokfrag::sparse {

// How a stored number is computed with. Specialised for the 16-bit types.
template <class E>
struct Number {
  using Real = E;
  TOKFRAG_HOST_DEVICE static E widen(E number) { return number; }
  TOKFRAG_HOST_DEVICE static E narrow(E number) { return number; }
};

template <class E>
using Real = typename Number<E>::Real;

// A stored matrix in device memory.
struct DeviceMatrix {
  TileGrid grid;
  const std::uint8_t* local;     // (nnz): columns inside their chunks
  const std::uint32_t* spans;    // (chunks, rows): see make_span
  const std::int64_t* starts;    // (tiles + 1): where a tile begins in `local` and `sources`
  const std::int64_t* origins;   // (tiles): where its values begin
  const std::uint16_t* sources;  // (nnz): a value's place in its tile; null: stored in this order
};

// y (batch, rows) = x (batch, columns) W^T + bias; bias may be null.
struct MultiplyTask {
  DeviceMatrix matrix;
  const void* x;
  const void* values;
  const void* bias;
  void* y;
  std::int64_t batch;
};

// out[i] = sum over the batch of grad[b, row(i)] x[b, column(i)]; the matrix is not transposed.
struct SampleTask {
  DeviceMatrix matrix;
  const std::uint8_t* entry_rows;  // (nnz): rows inside their blocks
  const void* grad;
  const void* x;
  void* out;
  std::int64_t batch;
  std::int64_t passes;  // of kPassEntries that the fullest tile takes
};

constexpr int kSparseThreads = 256;
constexpr int kWarpLanes = 32;
constexpr int kWarps = kSparseThreads / kWarpLanes;
constexpr int kWarpRows = 8;                    // outputs of a lane, for each input
constexpr int kGroupRows = kWarps * kWarpRows;  // rows of a block; two groups make a row block
constexpr int kEntries = 8;                     // sampled sums of a thread
constexpr int kPassEntries = kEntries * kSparseThreads;

static_assert(kTile % kGroupRows == 0, "a group of rows lies in one row block");

// Inputs that lie side by side in a panel, read by one access or two.
constexpr int kQuad = 4;

// How the lanes of a warp share the sums of its rows, for 32 inputs for each of kWide: a quad of
// inputs each, of several rows at once.
template <int kWide>
constexpr int kRowLanes = kWide * kWarpLanes / kQuad;
template <int kWide>
constexpr int kRowsAtOnce = kWarpLanes / kRowLanes<kWide>;
template <int kWide>
constexpr int kLaneRows = kWarpRows / kRowsAtOnce<kWide>;

// A panel holds so many numbers a column. One more quad keeps the threads that write down quads of
// neighbouring columns out of one another's memory banks.
constexpr int panel_stride(int inputs) { return inputs + kQuad; }
template <int kWide>
constexpr int kPanelStride = panel_stride(kWide * kWarpLanes);
template <int kWide>
constexpr int kPanelNumbers = static_cast<int>(kTile) * kPanelStride<kWide>;

template <class T>
struct alignas(16) Quad {
  T numbers[kQuad];
};

// Inputs that a sampled product takes at a time: two panels fit 48 KB.
template <class T>
constexpr int kSampleLanes = sizeof(T) == 8 ? 16 : 32;

// panel[c, l] = lines[l, c] for c < width and l < valid, else 0; `lines` are `stride` apart. A warp
// takes 8 columns of 4 lines at a time: whole sectors of memory, and every bank once.
template <class E, int kLanes>
TOKFRAG_HOST_DEVICE inline void stage_panel(const E* lines, std::int64_t stride, std::int64_t valid,
                                            std::int64_t width, int thread, Real<E>* panel) {
  constexpr int kColumns = kWarpLanes / kQuad;
  constexpr int kColumnGroups = static_cast<int>(kTile) / kColumns;
  for (int i = thread; i < static_cast<int>(kTile) * kLanes; i += kSparseThreads) {
    const int within = i % kWarpLanes;
    const int group = i / kWarpLanes;
    const int column = group % kColumnGroups * kColumns + within / kQuad;
    const int lane = group / kColumnGroups * kQuad + within % kQuad;
    const bool inside = column < width && lane < valid;
    panel[column * panel_stride(kLanes) + lane] =
        inside ? Number<E>::widen(lines[lane * stride + column]) : Real<E>(0);
  }
}

// Which outputs a block of a product makes.
struct ProductPlace {
  std::int64_t first_row;    // of kGroupRows
  std::int64_t first_input;  // of the batch tile
  std::int64_t inputs;       // that are there
};

template <int kWide>
TOKFRAG_HOST_DEVICE inline std::int64_t product_blocks(const MultiplyTask& task) {
  constexpr std::int64_t kInputs = kWide * kWarpLanes;
  return (task.matrix.grid.rows + kGroupRows - 1) / kGroupRows *
         ((task.batch + kInputs - 1) / kInputs);
}

template <int kWide>
TOKFRAG_HOST_DEVICE inline ProductPlace product_place(const MultiplyTask& task,
                                                      std::int64_t block) {
  constexpr std::int64_t kInputs = kWide * kWarpLanes;
  const std::int64_t tiles = (task.batch + kInputs - 1) / kInputs;
  const std::int64_t first = block % tiles * kInputs;
  const std::int64_t left = task.batch - first;
  return {block / tiles * kGroupRows, first, left < kInputs ? left : kInputs};
}

// Adds a row's run of `count` values to a quad of sums. `sources`: where in `values` each lies, if
// kSourced; else they lie there one after the other.
template <class E, int kWide, bool kSourced>
TOKFRAG_HOST_DEVICE inline void add_values(const std::uint8_t* local, const E* values,
                                           const std::uint16_t* sources, int count,
                                           const Real<E>* inputs, Real<E> (&sums)[kQuad]) {
  TOKFRAG_SPARSE_UNROLL_4
  for (int n = 0; n < count; ++n) {
    const Real<E> value = Number<E>::widen(values[kSourced ? sources[n] : n]);
    const int column = local[n];
    const auto in = *reinterpret_cast<const Quad<Real<E>>*>(inputs + column * kPanelStride<kWide>);
    TOKFRAG_SPARSE_UNROLL
    for (int q = 0; q < kQuad; ++q) sums[q] = std::fma(value, in.numbers[q], sums[q]);
  }
}

// Adds one chunk to the sums of a lane, `panel` holding its inputs.
template <class E, int kWide>
TOKFRAG_HOST_DEVICE inline void add_chunk(const MultiplyTask& task, const ProductPlace& place,
                                          std::int64_t chunk, int thread, const Real<E>* panel,
                                          Real<E> (&sums)[kLaneRows<kWide>][kQuad]) {
  const DeviceMatrix& matrix = task.matrix;
  const std::int64_t tile = matrix.grid.tile(chunk, place.first_row / kTile);
  const std::int64_t start = matrix.starts[tile];
  const E* values = static_cast<const E*>(task.values) + matrix.origins[tile];
  const int lane = thread % kWarpLanes;
  const std::int64_t first = place.first_row + thread / kWarpLanes * kWarpRows;
  const Real<E>* inputs = panel + lane % kRowLanes<kWide> * kQuad;
  TOKFRAG_SPARSE_UNROLL
  for (int r = 0; r < kLaneRows<kWide>; ++r) {
    const std::int64_t row = first + r * kRowsAtOnce<kWide> + lane / kRowLanes<kWide>;
    if (row >= matrix.grid.rows) continue;
    const std::uint32_t span = matrix.spans[chunk * matrix.grid.rows + row];
    const int begin = span_begin(span);
    const std::uint8_t* local = matrix.local + start + begin;
    if (matrix.sources == nullptr) {
      add_values<E, kWide, false>(local, values + begin, nullptr, span_count(span), inputs,
                                  sums[r]);
    } else {
      add_values<E, kWide, true>(local, values, matrix.sources + start + begin, span_count(span),
                                 inputs, sums[r]);
    }
  }
}

// A lane's sums, laid out in the panel so that an input's outputs lie together.
template <class T, int kWide>
TOKFRAG_HOST_DEVICE inline void put_sums(int thread, const T (&sums)[kLaneRows<kWide>][kQuad],
                                         T* panel) {
  const int lane = thread % kWarpLanes;
  const int first = thread / kWarpLanes * kWarpRows + lane / kRowLanes<kWide>;
  TOKFRAG_SPARSE_UNROLL
  for (int q = 0; q < kQuad; ++q) {
    T* line = panel + (lane % kRowLanes<kWide> * kQuad + q) * (kGroupRows + 1);
    TOKFRAG_SPARSE_UNROLL
    for (int r = 0; r < kLaneRows<kWide>; ++r) line[first + r * kRowsAtOnce<kWide>] = sums[r][q];
  }
}

template <class E, int kWide>
TOKFRAG_HOST_DEVICE inline void write_sums(const MultiplyTask& task, const ProductPlace& place,
                                           int thread, const Real<E>* panel) {
  const std::int64_t rows = task.matrix.grid.rows;
  for (int i = thread; i < kGroupRows * kWide * kWarpLanes; i += kSparseThreads) {
    const int row = i % kGroupRows;
    const int input = i / kGroupRows;
    const std::int64_t at = place.first_row + row;
    if (input >= place.inputs || at >= rows) continue;
    Real<E> sum = panel[input * (kGroupRows + 1) + row];
    if (task.bias != nullptr) sum += Number<E>::widen(static_cast<const E*>(task.bias)[at]);
    static_cast<E*>(task.y)[(place.first_input + input) * rows + at] = Number<E>::narrow(sum);
  }
}

// Products of so few inputs take a warp a row, not a batch tile: groups of its lanes take a chunk
// each, at once, and a lane every kFewLanes-th of a run's values, for all inputs.
constexpr std::int64_t kFewInputs = 4;
constexpr int kFewLanes = 8;
constexpr int kFewChunks = kWarpLanes / kFewLanes;

// Where a row's values of one chunk lie.
struct RunPlace {
  std::int64_t start;
  std::int64_t origin;
  std::uint32_t span;
};

TOKFRAG_HOST_DEVICE inline RunPlace run_place(const DeviceMatrix& matrix, std::int64_t row,
                                              std::int64_t chunk) {
  const std::int64_t tile = matrix.grid.tile(chunk, row / kTile);
  return {matrix.starts[tile], matrix.origins[tile], matrix.spans[chunk * matrix.grid.rows + row]};
}

// One lane's part of y[:, row].
template <class E, int kInputs>
TOKFRAG_HOST_DEVICE inline void row_part(const MultiplyTask& task, std::int64_t row, int lane,
                                         Real<E> (&sums)[kInputs]) {
  const DeviceMatrix& matrix = task.matrix;
  const std::int64_t chunks = matrix.grid.chunks();
  TOKFRAG_SPARSE_UNROLL
  for (int i = 0; i < kInputs; ++i) sums[i] = 0;
  std::int64_t chunk = lane / kFewLanes;
  if (chunk >= chunks) return;
  RunPlace next = run_place(matrix, row, chunk);
  for (; chunk < chunks; chunk += kFewChunks) {
    const RunPlace place = next;  // the one behind it is read meanwhile
    if (chunk + kFewChunks < chunks) next = run_place(matrix, row, chunk + kFewChunks);
    const std::uint8_t* local = matrix.local + place.start;
    const E* values = static_cast<const E*>(task.values) + place.origin;
    const E* x = static_cast<const E*>(task.x) + chunk * kTile;
    const int end = span_begin(place.span) + span_count(place.span);
    for (int n = span_begin(place.span) + lane % kFewLanes; n < end; n += kFewLanes) {
      const int from = matrix.sources == nullptr ? n : matrix.sources[place.start + n];
      const Real<E> value = Number<E>::widen(values[from]);
      const int column = local[n];
      TOKFRAG_SPARSE_UNROLL
      for (int i = 0; i < kInputs; ++i) {
        if (i >= task.batch) continue;
        sums[i] = std::fma(value, Number<E>::widen(x[i * matrix.grid.columns + column]), sums[i]);
      }
    }
  }
}

template <class E>
TOKFRAG_HOST_DEVICE inline void write_row(const MultiplyTask& task, std::int64_t input,
                                          std::int64_t row, Real<E> sum) {
  if (task.bias != nullptr) sum += Number<E>::widen(static_cast<const E*>(task.bias)[row]);
  static_cast<E*>(task.y)[input * task.matrix.grid.rows + row] = Number<E>::narrow(sum);
}

// Which sums a block of a sampled product makes: entries [first, last) of one tile.
struct SamplePlace {
  std::int64_t chunk;
  std::int64_t block;
  std::int64_t first;
  std::int64_t last;
};

TOKFRAG_HOST_DEVICE inline std::int64_t sample_blocks(const SampleTask& task) {
  return task.matrix.grid.chunks() * task.matrix.grid.row_blocks() * task.passes;
}

TOKFRAG_HOST_DEVICE inline SamplePlace sample_place(const SampleTask& task, std::int64_t block) {
  const std::int64_t tile = block / task.passes;
  const std::int64_t blocks = task.matrix.grid.row_blocks();
  const std::int64_t first = task.matrix.starts[tile] + block % task.passes * kPassEntries;
  const std::int64_t end = task.matrix.starts[tile + 1];
  return {tile / blocks, tile % blocks, first,
          first + kPassEntries < end ? first + kPassEntries : end};
}

// Stages both factors' inputs [input, input + kSampleLanes) of a place's tile.
template <class E>
TOKFRAG_HOST_DEVICE inline void stage_sample(const SampleTask& task, const SamplePlace& place,
                                             std::int64_t input, int thread, Real<E>* grad_panel,
                                             Real<E>* x_panel) {
  constexpr int kLanes = kSampleLanes<Real<E>>;
  const TileGrid& grid = task.matrix.grid;
  const std::int64_t left = task.batch - input;
  stage_panel<E, kLanes>(static_cast<const E*>(task.grad) + input * grid.rows + place.block * kTile,
                         grid.rows, left, grid.block_rows(place.block), thread, grad_panel);
  stage_panel<E, kLanes>(static_cast<const E*>(task.x) + input * grid.columns + place.chunk * kTile,
                         grid.columns, left, grid.chunk_columns(place.chunk), thread, x_panel);
}

template <class E>
TOKFRAG_HOST_DEVICE inline void add_samples(const SampleTask& task, const SamplePlace& place,
                                            int thread, const Real<E>* grad_panel,
                                            const Real<E>* x_panel, Real<E> (&sums)[kEntries]) {
  constexpr int kLanes = kSampleLanes<Real<E>>;
  TOKFRAG_SPARSE_UNROLL
  for (int k = 0; k < kEntries; ++k) {
    const std::int64_t i = place.first + k * kSparseThreads + thread;
    if (i >= place.last) break;
    const Real<E>* row = grad_panel + task.entry_rows[i] * panel_stride(kLanes);
    const Real<E>* column = x_panel + task.matrix.local[i] * panel_stride(kLanes);
    TOKFRAG_SPARSE_UNROLL
    for (int l = 0; l < kLanes; l += kQuad) {
      const auto a = *reinterpret_cast<const Quad<Real<E>>*>(row + l);
      const auto b = *reinterpret_cast<const Quad<Real<E>>*>(column + l);
      TOKFRAG_SPARSE_UNROLL
      for (int q = 0; q < kQuad; ++q) sums[k] = std::fma(a.numbers[q], b.numbers[q], sums[k]);
    }
  }
}

template <class E>
TOKFRAG_HOST_DEVICE inline void write_samples(const SampleTask& task, const SamplePlace& place,
                                              int thread, const Real<E> (&sums)[kEntries]) {
  TOKFRAG_SPARSE_UNROLL
  for (int k = 0; k < kEntries; ++k) {
    const std::int64_t i = place.first + k * kSparseThreads + thread;
    if (i < place.last) static_cast<E*>(task.out)[i] = Number<E>::narrow(sums[k]);
  }
}

}  // namespace tokfrag::sparse
