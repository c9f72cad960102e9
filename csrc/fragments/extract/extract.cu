#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/extract/device.hpp"

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

}  // namespace

void extract_cuda(const GridLayout& layout, const void* data, void* fragments,
                  const void* pad_value, cudaStream_t stream) {
  if (is_empty(layout)) return;
  const int unit = extract_unit(layout, data, fragments);
  if (extract_is_narrow(layout, unit)) {
    launch_extract<std::uint32_t>(layout, unit, data, fragments, pad_value, stream);
  } else {
    launch_extract<std::uint64_t>(layout, unit, data, fragments, pad_value, stream);
  }
}

void set_cuda_device(int device) { check_cuda(cudaSetDevice(device), "cudaSetDevice"); }

void check_cuda_device(int device) {
  set_cuda_device(device);
  cudaFuncAttributes attributes{};
  check_cuda(cudaFuncGetAttributes(&attributes, extract_kernel<kMaxUnit, std::uint32_t>),
             "cudaFuncGetAttributes");
}

}  // namespace tokfrag
