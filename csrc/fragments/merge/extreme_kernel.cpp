#include "fragments/merge/extreme_kernel.hpp"

#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// Numbers or registers of them; of halves, what they are as floats. A NaN is kept: nothing is
// beyond it.
template <bool kGreatest, class V>
TOKFRAG_INLINE auto replaces(const V& value, const V& held) {
  return (kGreatest ? value > held : value < held) | (value != value);
}

template <bool kGreatest, class T>
TOKFRAG_INLINE void keep_register(char* held, const char* from) {
  if constexpr (kIsHalf<T>) {
    const WideShorts value = load_as<WideShorts>(from);
    const WideShorts best = load_as<WideShorts>(held);
    const auto better = replaces<kGreatest>(wide_floats(value, T{}), wide_floats(best, T{}));
    const auto mask = __builtin_convertvector(better, WideShorts);
    store_bytes(held, (value & mask) | (best & ~mask));
  } else {
    using V = Vector<T, kVectorBytes / static_cast<int>(sizeof(T))>;
    const V value = load_as<V>(from);
    const V best = load_as<V>(held);
    store_bytes(held, replaces<kGreatest>(value, best) ? value : best);
  }
}

template <bool kGreatest, class T>
TOKFRAG_INLINE void keep_number(char* held, const char* from) {
  const T value = load_as<T>(from);
  const T best = load_as<T>(held);
  bool better;
  if constexpr (kIsHalf<T>) {
    better = replaces<kGreatest>(widen(value), widen(best));
  } else {
    better = replaces<kGreatest>(value, best);
  }
  const T kept = better ? value : best;
  std::memcpy(held, &kept, sizeof kept);
}

template <bool kGreatest, class T>
void keep(void* best, std::int64_t step, const char* from, std::int64_t count, std::int64_t width) {
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  constexpr std::int64_t kStep = kIsHalf<T> ? kWideLanes : kVectorBytes / kSize;
  if (step == width) {
    width *= count;
    count = 1;
  }
  char* held = static_cast<char*>(best);
  for (std::int64_t k = 0; k < count; ++k, held += step * kSize, from += width * kSize) {
    std::int64_t i = 0;
    for (; i + kStep <= width; i += kStep) {
      keep_register<kGreatest, T>(held + i * kSize, from + i * kSize);
    }
    for (; i < width; ++i) keep_number<kGreatest, T>(held + i * kSize, from + i * kSize);
  }
}

template <bool kGreatest>
constexpr void fill(ExtremeKernels::Keep (&kernels)[kDtypes]) {
  const auto index = [](Dtype type) { return static_cast<std::size_t>(type); };
  kernels[index(Dtype::kBool)] = &keep<kGreatest, std::uint8_t>;
  kernels[index(Dtype::kU8)] = &keep<kGreatest, std::uint8_t>;
  kernels[index(Dtype::kI8)] = &keep<kGreatest, std::int8_t>;
  kernels[index(Dtype::kI16)] = &keep<kGreatest, std::int16_t>;
  kernels[index(Dtype::kI32)] = &keep<kGreatest, std::int32_t>;
  kernels[index(Dtype::kI64)] = &keep<kGreatest, std::int64_t>;
  kernels[index(Dtype::kF16)] = &keep<kGreatest, Half>;
  kernels[index(Dtype::kBF16)] = &keep<kGreatest, BFloat16>;
  kernels[index(Dtype::kF32)] = &keep<kGreatest, float>;
  kernels[index(Dtype::kF64)] = &keep<kGreatest, double>;
}

constexpr ExtremeKernels kernels() {
  ExtremeKernels made{};
  fill<true>(made.keep_max);
  fill<false>(made.keep_min);
  return made;
}

}  // namespace

extern const ExtremeKernels extreme_kernels_table;
const ExtremeKernels extreme_kernels_table = kernels();

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
