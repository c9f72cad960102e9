// Which kernel of a GPU makes a merge. The common cases have kernels of their own; one for each
// type does for all the rest.
#pragma once

#include <cstdint>

#include "fragments/cuda_kernels.hpp"
#include "fragments/merge/device.hpp"
#include "fragments/merge/plain_device.hpp"

namespace tokfrag {

// A kernel: its plan, and what the thread of number `unit` does.
template <class T, int kCount, DeviceMergeMethod kMethod, int kOuter, class Number>
struct AnyMerge {
  using Index = Number;
  using Accumulator = AccumulatorOf<T>;
  using Plan = DeviceMergePlan<Index, Accumulator>;
  static constexpr int kNumbers = kCount;
  // Three blocks a multiprocessor leave 80 registers, enough for all but the general kernel.
  static constexpr int kBlocks = kMethod == DeviceMergeMethod::kAny ? 1 : 3;
  TOKFRAG_HOST_DEVICE static void run(const Plan& plan, Index unit) {
    merge_unit<T, kNumbers, kMethod, kOuter, Index>(plan, unit);
  }
};

template <class T, int kCount, int kOuter, class Sum = AccumulatorOf<T>>
struct PlainMerge {
  using Index = std::uint32_t;
  using Accumulator = Sum;
  using Plan = DeviceMergePlan<Index, Accumulator>;
  static constexpr int kNumbers = kCount;
  static constexpr int kBlocks = std::is_same_v<Sum, Pair> ? 2 : 3;  // 128 registers, or 80
  TOKFRAG_HOST_DEVICE static void run(const Plan& plan, Index unit) {
    merge_plain<T, kNumbers, kOuter, Index>(plan, unit);
  }
};

template <class T, int kCount, int kOuter>
struct PlainExtreme {
  using Index = std::uint32_t;
  using Accumulator = AccumulatorOf<T>;
  using Plan = DeviceMergePlan<Index, Accumulator>;
  static constexpr int kNumbers = kCount;
  static constexpr int kBlocks = 3;
  TOKFRAG_HOST_DEVICE static void run(const Plan& plan, Index unit) {
    merge_plain_extreme<T, kNumbers, kOuter, Index>(plan, unit);
  }
};

template <class Merge>
typename Merge::Plan plan_of(const MergeCall& call) {
  return make_merge_plan<typename Merge::Index, typename Merge::Accumulator>(
      call.layout, call.grid, call.window, call.dtype, Merge::kNumbers, call.fragments, call.out,
      call.fill);
}

// Sums and means that 32-bit numbers count, of one vector of weights an axis.
template <class T, class Sum, class Run>
void choose_plain(const MergeCall& call, bool wide, int outer, const Run& run) {
  constexpr int kWide = merge_wide<T>(DeviceMergeMethod::kScaled);
  if (wide && outer <= 1) return run(call, PlainMerge<T, kWide, 1, Sum>{});
  if (wide) return run(call, PlainMerge<T, kWide, 2, Sum>{});
  run(call, PlainMerge<T, 1, 2, Sum>{});
}

// Calls run(call, kernel) with the kernel for numbers of type T.
template <class T, class Run>
void choose_merge(const MergeCall& call, const Run& run) {
  constexpr DeviceMergeMethod kScaled = DeviceMergeMethod::kScaled;
  constexpr DeviceMergeMethod kWhole = DeviceMergeMethod::kWhole;
  constexpr DeviceMergeMethod kExtreme = DeviceMergeMethod::kExtreme;
  constexpr int kWide = merge_wide<T>(kScaled);
  constexpr int kWidest = merge_wide<T>(kExtreme);
  const DeviceMergeMethod method = choose_merge_method(call.window, call.dtype);
  const int outer = merge_outer_axes(call.layout, call.window);
  const int numbers = merge_numbers(call.layout, call.window, call.fragments, call.out,
                                    method == kExtreme ? kWidest : kWide);
  const bool narrow = merge_is_narrow(call.layout);
  const bool few = outer <= 2 && narrow;
  const bool plain = few && merge_is_plain(call.layout, call.window);
  if (plain && method == kExtreme && numbers == kWidest) {
    return run(call, PlainExtreme<T, kWidest, 2>{});
  }
  if constexpr (kIsSummed<T>) {
    const bool wide = numbers == kWide;
    if (plain && method == kScaled) {
      if constexpr (std::is_same_v<T, float>) {
        if (call.window.pairs != 0) return choose_plain<T, Pair>(call, wide, outer, run);
      }
      return choose_plain<T, AccumulatorOf<T>>(call, wide, outer, run);
    }
    if (few && method == kScaled && wide) {
      return run(call, AnyMerge<T, kWide, kScaled, 2, std::uint32_t>{});
    }
    if constexpr (!std::is_integral_v<T>) {
      if (few && method == kWhole && wide) {
        return run(call, AnyMerge<T, kWide, kWhole, 2, std::uint32_t>{});
      }
    }
  } else if (method != kExtreme) {
    throw CudaError("merge: int64 takes reduce='max' or 'min' only");
  }
  if (narrow) {
    return run(call, AnyMerge<T, 1, DeviceMergeMethod::kAny, kMaxAxes, std::uint32_t>{});
  }
  run(call, AnyMerge<T, 1, DeviceMergeMethod::kAny, kMaxAxes, std::uint64_t>{});
}

}  // namespace tokfrag
