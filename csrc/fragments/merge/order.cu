#include "core/cuda_launch.hpp"
#include "fragments/cuda_kernels.hpp"
#include "fragments/merge/order_device.hpp"

namespace tokfrag {

namespace {

template <class Order>
__global__ void __launch_bounds__(kBlockThreads)
    order_kernel(const __grid_constant__ typename Order::Plan plan) {
  using Index = typename Order::Index;
  const Index unit = static_cast<Index>(blockIdx.x) * kBlockThreads + threadIdx.x;
  if (unit < plan.units) Order::run(plan, unit);
}

struct Launch {
  template <class Order>
  void operator()(const MergeCall& call, Order) const {
    using Plan = typename Order::Plan;
    const Plan plan = make_order_plan<Order>(call);
    launch(order_kernel<Order>, static_cast<std::int64_t>(plan.units), call.stream,
           "merge: cudaLaunchKernel", plan);
  }
};

}  // namespace

void order_cuda(const MergeCall& call) {
  const bool vote = call.window.reduce == Reduce::kVote;
  switch (call.dtype) {
    case Dtype::kBool:
    case Dtype::kU8:
      return choose_order<std::uint8_t>(call, Launch{});
    case Dtype::kI8:
      return choose_order<std::int8_t>(call, Launch{});
    case Dtype::kI16:
      return choose_order<std::int16_t>(call, Launch{});
    case Dtype::kI32:
      return choose_order<std::int32_t>(call, Launch{});
    case Dtype::kI64:
      if (!vote) break;
      return choose_order<std::int64_t>(call, Launch{});
    case Dtype::kF16:
      if (vote) break;
      return choose_order<Half>(call, Launch{});
    case Dtype::kBF16:
      if (vote) break;
      return choose_order<BFloat16>(call, Launch{});
    case Dtype::kF32:
      if (vote) break;
      return choose_order<float>(call, Launch{});
    case Dtype::kF64:
      if (vote) break;
      return choose_order<double>(call, Launch{});
  }
  throw CudaError("merge: votes take no floats, medians no int64");
}

}  // namespace tokfrag
