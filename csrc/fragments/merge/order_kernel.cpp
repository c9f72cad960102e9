#include "fragments/merge/order_kernel.hpp"

#include <limits>

#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// What numbers are compared as, and how many to a register.
template <class T>
using Number = std::conditional_t<kIsHalf<T>, float, T>;
template <class T>
constexpr int kOrderLanes = kIsHalf<T> ? kWideLanes : kVectorBytes / static_cast<int>(sizeof(T));

template <class T, int kCount>
TOKFRAG_INLINE Vector<Number<T>, kCount> numbers_of(const char* from) {
  using V = Vector<Number<T>, kCount>;
  if constexpr (!kIsHalf<T>) {
    return load_as<V>(from);
  } else if constexpr (kCount == 1) {
    return V{widen(load_as<T>(from))};
  } else {
    return load_wide(reinterpret_cast<const T*>(from));
  }
}

// Reads the numbers of all places and sorts them, ascending, by exchanging neighbours: for a few
// places that is fewer steps than anything cleverer, and the same ones in every lane.
template <class T, int kCount>
TOKFRAG_INLINE void read_sorted(const char* const* from, std::int64_t places, std::int64_t at,
                                Vector<Number<T>, kCount>* sorted) {
  using V = Vector<Number<T>, kCount>;
  const std::int64_t byte = at * static_cast<std::int64_t>(sizeof(T));
  sorted[0] = numbers_of<T, kCount>(from[0] + byte);
  for (std::int64_t place = 1; place < places; ++place) {
    sorted[place] = numbers_of<T, kCount>(from[place] + byte);
  }
  for (std::int64_t round = 0; round < places; ++round) {
    for (std::int64_t i = round % 2; i + 1 < places; i += 2) {
      const V low = sorted[i];
      const V high = sorted[i + 1];
      const auto swapped = high < low;
      sorted[i] = swapped ? high : low;
      sorted[i + 1] = swapped ? low : high;
    }
  }
}

template <class T, int kCount>
TOKFRAG_INLINE void pick_middle(char* out, const char* const* from, std::int64_t places,
                                std::int64_t at) {
  using V = Vector<Number<T>, kCount>;
  V sorted[kMostOrdered];
  read_sorted<T, kCount>(from, places, at, sorted);
  Number<T> low[kCount];
  Number<T> high[kCount];
  store_bytes(low, sorted[(places - 1) / 2]);
  store_bytes(high, sorted[places / 2]);
  T middle[kCount];
  for (int lane = 0; lane < kCount; ++lane) {
    const auto below = static_cast<double>(low[lane]);
    const auto above = static_cast<double>(high[lane]);
    put_number(below == above ? below : below / 2 + above / 2, middle[lane]);
  }
  if constexpr (!std::is_integral_v<T>) {
    // NaN compares as nothing, so that it may be anywhere in what was sorted.
    for (std::int64_t place = 0; place < places; ++place) {
      Number<T> number[kCount];
      store_bytes(number, sorted[place]);
      for (int lane = 0; lane < kCount; ++lane) {
        if (number[lane] != number[lane]) {
          put_number(std::numeric_limits<double>::quiet_NaN(), middle[lane]);
        }
      }
    }
  }
  std::memcpy(out + at * static_cast<std::int64_t>(sizeof(T)), middle, sizeof middle);
}

template <class T, int kCount>
TOKFRAG_INLINE void pick_frequent(char* out, const char* const* from, std::int64_t places,
                                  std::int64_t at) {
  using V = Vector<T, kCount>;
  V sorted[kMostOrdered];
  read_sorted<T, kCount>(from, places, at, sorted);
  V best = sorted[0];
  V run{};  // of equal numbers so far, less one
  V most{};
  for (std::int64_t place = 1; place < places; ++place) {
    run = sorted[place] == sorted[place - 1] ? run + T{1} : V{};
    const auto better = run > most;
    best = better ? sorted[place] : best;
    most = better ? run : most;
  }
  store_bytes(out + at * static_cast<std::int64_t>(sizeof(T)), best);
}

template <class T>
void median(char* out, const char* const* from, std::int64_t places, std::int64_t numbers) {
  std::int64_t at = 0;
  for (; at + kOrderLanes<T> <= numbers; at += kOrderLanes<T>) {
    pick_middle<T, kOrderLanes<T>>(out, from, places, at);
  }
  for (; at < numbers; ++at) pick_middle<T, 1>(out, from, places, at);
}

template <class T>
void vote(char* out, const char* const* from, std::int64_t places, std::int64_t numbers) {
  std::int64_t at = 0;
  for (; at + kOrderLanes<T> <= numbers; at += kOrderLanes<T>) {
    pick_frequent<T, kOrderLanes<T>>(out, from, places, at);
  }
  for (; at < numbers; ++at) pick_frequent<T, 1>(out, from, places, at);
}

constexpr OrderKernels kernels() {
  OrderKernels made{};
  const auto index = [](Dtype type) { return static_cast<std::size_t>(type); };
  made.median[index(Dtype::kU8)] = &median<std::uint8_t>;
  made.median[index(Dtype::kI8)] = &median<std::int8_t>;
  made.median[index(Dtype::kI16)] = &median<std::int16_t>;
  made.median[index(Dtype::kI32)] = &median<std::int32_t>;
  made.median[index(Dtype::kF16)] = &median<Half>;
  made.median[index(Dtype::kBF16)] = &median<BFloat16>;
  made.median[index(Dtype::kF32)] = &median<float>;
  made.median[index(Dtype::kF64)] = &median<double>;
  made.vote[index(Dtype::kBool)] = &vote<std::uint8_t>;
  made.vote[index(Dtype::kU8)] = &vote<std::uint8_t>;
  made.vote[index(Dtype::kI8)] = &vote<std::int8_t>;
  made.vote[index(Dtype::kI16)] = &vote<std::int16_t>;
  made.vote[index(Dtype::kI32)] = &vote<std::int32_t>;
  made.vote[index(Dtype::kI64)] = &vote<std::int64_t>;
  return made;
}

}  // namespace

extern const OrderKernels order_kernels_table;
const OrderKernels order_kernels_table = kernels();

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
