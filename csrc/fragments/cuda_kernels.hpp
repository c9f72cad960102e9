// The CUDA twins of the fragment kernels, as the host calls them.
//
// All arrays lie on the device that is current when the call is made. Calls put their work on
// `stream` and return at once; they read no result back, so nothing waits. Errors of the CUDA
// runtime are thrown as CudaError.
#pragma once

#include <cstdint>

#include "core/cuda.hpp"
#include "core/cuda_device.hpp"
#include "core/dtype.hpp"
#include "fragments/extract/changed_device.hpp"
#include "fragments/features/device.hpp"
#include "fragments/grid/layout.hpp"
#include "fragments/merge/device.hpp"
#include "fragments/segments/segment_merge_device.hpp"

namespace tokfrag {

// See extract.hpp. Strides must not be negative. `pad_value` lies on the host.
void extract_cuda(const GridLayout& layout, const void* data, void* fragments,
                  const void* pad_value, cudaStream_t stream);

// See merge.hpp; the weights of `window` lie on the device, in float for half and bfloat16, else in
// double. Weights of a covered position that sum to zero give what a division by zero gives. `out`
// is contiguous, `fill` lies on the host: one number of type `dtype`.
// Medians and votes, whose numbers lie one behind the other, go to order_cuda.
void merge_cuda(const GridLayout& layout, const GridShape& grid, const DeviceWindow& window,
                Dtype dtype, const void* fragments, void* out, const void* fill,
                cudaStream_t stream);

// The arguments of merge_cuda, before their types are known to a kernel.
struct MergeCall {
  const GridLayout& layout;
  const GridShape& grid;
  const DeviceWindow& window;
  Dtype dtype;
  const void* fragments;
  void* out;
  const void* fill;
  cudaStream_t stream;
};
// A merge by order, see merge/order_device.hpp.
void order_cuda(const MergeCall& call);

// See merge/adjoint.hpp: fragments times the weights of a merge, for floating types. `norms` lie on
// the device: of a mean under whole weights their sum at each position, in the accumulator's type;
// else null. `fragments` is contiguous.
void weigh_cuda(const GridLayout& layout, const GridShape& grid, const DeviceWindow& window,
                Dtype dtype, const void* data, const void* norms, void* fragments,
                cudaStream_t stream);

// See extract/changed_device.hpp: fragments of another type, scaled and shifted a channel.
// Fragments are (..., channels, below), counted in numbers, and contiguous; `layout` is that of
// `dtype` in both arrays, `pad_value` one number of it.
struct ChangedCall {
  const GridLayout& layout;
  const ChannelChange& change;
  std::int64_t channels;
  std::int64_t below;
  Dtype dtype;
  Dtype out_dtype;
  const void* data;
  void* fragments;
  const void* pad_value;
  cudaStream_t stream;
};
void extract_changed_cuda(const ChangedCall& call);

// See features_device.hpp; integers give float32.
void features_cuda(const DeviceFeaturePlan& plan, Dtype dtype, cudaStream_t stream);

// See segment_merge_device.hpp; float16, bfloat16, float32 or float64.
void segment_reduce_cuda(const SegmentReduceTask& task, Dtype dtype, cudaStream_t stream);
void segment_gather_cuda(const SegmentGatherTask& task, Dtype dtype, cudaStream_t stream);

}  // namespace tokfrag
