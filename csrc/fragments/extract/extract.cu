#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/extract/affine_device.hpp"
#include "fragments/extract/device.hpp"
#include "fragments/extract/rows_device.hpp"

namespace tokfrag {

namespace {

template <int kBytes, class Index>
__global__ void __launch_bounds__(kBlockThreads)
    extract_kernel(const __grid_constant__ DeviceExtractPlan<Index> plan) {
  const Index block = static_cast<Index>(blockIdx.x) * (kExtractUnits * kBlockThreads);
  extract_units<kBytes, Index>(plan, block + threadIdx.x, kBlockThreads);
}

template <class Index>
void launch_extract(const GridLayout& layout, int unit, const void* data, void* fragments,
                    const void* pad_value, cudaStream_t stream) {
  const auto plan = make_extract_plan<Index>(layout, unit, data, fragments, pad_value);
  const auto kernel = unit == 16  ? extract_kernel<16, Index>
                      : unit == 8 ? extract_kernel<8, Index>
                      : unit == 4 ? extract_kernel<4, Index>
                      : unit == 2 ? extract_kernel<2, Index>
                                  : extract_kernel<1, Index>;
  const auto units = static_cast<std::int64_t>(plan.units);
  launch(kernel, (units + kExtractUnits - 1) / kExtractUnits, stream, "extract: cudaLaunchKernel",
         plan);
}

template <int kBytes>
__global__ void __launch_bounds__(kBlockThreads)
    extract_affine_kernel(const __grid_constant__ DeviceAffinePlan plan, std::uint32_t threads) {
  const std::uint32_t index = blockIdx.x * kBlockThreads + threadIdx.x;
  if (index < threads) extract_affine<kBytes>(plan, index);
}

void launch_affine(const GridLayout& layout, int unit, const void* data, void* fragments,
                   cudaStream_t stream) {
  const DeviceAffinePlan plan = make_affine_plan(layout, unit, data, fragments);
  const auto kernel = unit == 16  ? extract_affine_kernel<16>
                      : unit == 8 ? extract_affine_kernel<8>
                      : unit == 4 ? extract_affine_kernel<4>
                      : unit == 2 ? extract_affine_kernel<2>
                                  : extract_affine_kernel<1>;
  launch(kernel, plan.threads(), stream, "extract: cudaLaunchKernel", plan,
         static_cast<std::uint32_t>(plan.threads()));
}

template <int kLoad, class Index>
__global__ void __launch_bounds__(kBlockThreads)
    extract_rows_kernel(const __grid_constant__ DeviceRowPlan<Index> plan) {
  const Index block = static_cast<Index>(blockIdx.x) * (kRowStores * kBlockThreads);
  extract_rows<kLoad, Index>(plan, block + threadIdx.x, kBlockThreads);
}

void launch_rows(const GridLayout& layout, int load, const void* data, void* fragments,
                 const void* pad_value, cudaStream_t stream) {
  const DeviceRowPlan<std::uint32_t> plan = make_row_plan(layout, load, data, fragments, pad_value);
  const auto kernel = load == 8   ? extract_rows_kernel<8, std::uint32_t>
                      : load == 4 ? extract_rows_kernel<4, std::uint32_t>
                      : load == 2 ? extract_rows_kernel<2, std::uint32_t>
                                  : extract_rows_kernel<1, std::uint32_t>;
  const auto stores = static_cast<std::int64_t>(plan.stores);
  launch(kernel, (stores + kRowStores - 1) / kRowStores, stream, "extract: cudaLaunchKernel", plan);
}

}  // namespace

void extract_cuda(const GridLayout& given, const void* data, void* fragments, const void* pad_value,
                  cudaStream_t stream) {
  if (is_empty(given)) return;
  const GridLayout layout = counted_in_numbers(given);
  const int unit = extract_unit(layout, data, fragments);
  const int load = extract_row_load(given, unit, data, fragments);
  if (load > 0) return launch_rows(given, load, data, fragments, pad_value, stream);
  if (extract_is_affine(layout, unit)) {
    launch_affine(layout, unit, data, fragments, stream);
  } else if (extract_is_narrow(layout, unit)) {
    launch_extract<std::uint32_t>(layout, unit, data, fragments, pad_value, stream);
  } else {
    launch_extract<std::uint64_t>(layout, unit, data, fragments, pad_value, stream);
  }
}

}  // namespace tokfrag
