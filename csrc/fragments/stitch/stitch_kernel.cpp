#include "fragments/stitch/stitch_kernel.hpp"

#include <algorithm>
#include <type_traits>

#include "core/numbers.hpp"
#include "core/simd.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

template <class Sum>
using Register = Vector<Sum, kVectorBytes / static_cast<int>(sizeof(Sum))>;

// 0 * NaN is NaN: what has no weight is left out, not multiplied.
template <class Sum>
inline Sum weighed(Sum weight, Sum value) {
  return weight == 0 ? Sum{0} : weight * value;
}

template <class Sum, class T>
inline void add_row(Sum* __restrict sums, const T* __restrict from, const Sum* __restrict weights,
                    Sum scale, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    sums[i] += weighed(scale * weights[i], real_of<Sum>(from[i]));
  }
}

template <class Sum>
inline void add_weights(Sum* __restrict sums, const Sum* __restrict weights, Sum scale,
                        std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sums[i] += scale * weights[i];
}

// The sums of a row that comes soon: rows are short and far from each other, so that the processor
// does not guess them.
template <class Sum>
inline void ask_for(const StitchRows<Sum>& rows, std::int64_t r) {
  if (rows.ahead == nullptr) return;
  constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(Sum));
  const Sum* row = rows.ahead + r * rows.sums_row_step;
  for (std::int64_t i = 0; i < rows.count; i += kLine) __builtin_prefetch(row + i, 1);
}

template <class Sum, class T>
void add(const StitchRows<Sum>& rows) {
  const bool contiguous =
      rows.from == nullptr || rows.from_step == static_cast<std::int64_t>(sizeof(T));
  const bool plain = rows.step == 1 && contiguous && rows.weights != nullptr;
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    Sum* sums = rows.sums + r * rows.sums_row_step;
    ask_for(rows, r);
    const char* from = rows.from == nullptr ? nullptr : rows.from + r * rows.from_row_step;
    const Sum* weights =
        rows.weights == nullptr ? nullptr : rows.weights + r * rows.weights_row_step;
    const Sum scale = rows.row_scales == nullptr ? rows.scale : rows.scale * rows.row_scales[r];
    if (plain && from == nullptr) {
      add_weights(sums, weights, scale, rows.count);
      continue;
    }
    if (plain) {
      add_row(sums, reinterpret_cast<const T*>(from), weights, scale, rows.count);
      continue;
    }
    for (std::int64_t i = 0; i < rows.count; ++i) {
      const Sum weight = weights == nullptr ? scale : scale * weights[i];
      const Sum value = from == nullptr
                            ? Sum{1}
                            : real_of<Sum>(*reinterpret_cast<const T*>(from + i * rows.from_step));
      sums[i * rows.step] += weighed(weight, value);
    }
  }
}

template <class Sum, class T>
void keep_max(const StitchRows<Sum>& rows) {
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    Sum* sums = rows.sums + r * rows.sums_row_step;
    ask_for(rows, r);
    const char* from = rows.from + r * rows.from_row_step;
    for (std::int64_t i = 0; i < rows.count; ++i) {
      const Sum value = real_of<Sum>(*reinterpret_cast<const T*>(from + i * rows.from_step));
      Sum& held = sums[i * rows.step];
      held = value > held || value != value ? value : held;
    }
  }
}

template <class Sum, class T, bool kMax>
inline void emit_row(T* __restrict out, Sum* __restrict sums, const Sum* __restrict factors,
                     Sum scale, std::int64_t count) {
  constexpr Sum kEmpty = kMax ? -static_cast<Sum>(__builtin_inff()) : Sum{0};
  for (std::int64_t i = 0; i < count; ++i) {
    const Sum factor = scale * factors[i];
    const Sum value = kMax ? (factor == 0 ? Sum{0} : sums[i]) : sums[i] * factor;
    narrow(value, out[i]);
    sums[i] = kEmpty;
  }
}

// Whole registers of a mean's row of the sums' own type, written around the cache: how many
// numbers. `value(i, sums)` makes those of one register.
template <class Sum, class Value>
inline std::int64_t stream_row(Sum* __restrict out, Sum* __restrict sums, std::int64_t count,
                               const Value& value) {
  constexpr std::int64_t kStep = kVectorBytes / static_cast<std::int64_t>(sizeof(Sum));
  std::int64_t done = 0;
  for (; done + kStep <= count; done += kStep) {
    stream_bytes(out + done, value(done, load_as<Register<Sum>>(sums + done)));
    store_bytes(sums + done, Register<Sum>{});
  }
  return done;
}

// Numbers before `out` begins a register.
template <class T>
inline std::int64_t unaligned(const T* out, std::int64_t count) {
  const auto past = reinterpret_cast<std::uintptr_t>(out) % kVectorBytes;
  const auto before = past == 0 ? 0 : (kVectorBytes - past) / sizeof(T);
  return std::min(static_cast<std::int64_t>(before), count);
}

template <class Sum, class T>
inline void emit_divided(T* __restrict out, Sum* __restrict sums, const Sum* __restrict divisors,
                         std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const Sum quotient = sums[i] / divisors[i];
    narrow(divisors[i] == 0 ? Sum{0} : quotient, out[i]);
    sums[i] = 0;
  }
}

// Numbers of a row from `first` on, around the cache: how many.
template <class Sum>
inline std::int64_t stream_part(const StitchOut<Sum>& row, std::int64_t first) {
  Sum* out = reinterpret_cast<Sum*>(row.out) + first;
  const std::int64_t count = row.count - first;
  if (row.divisors != nullptr) {
    const Sum* divisors = row.divisors + first;
    return stream_row(out, row.sums + first, count, [=](std::int64_t i, Register<Sum> sums) {
      const auto by = load_as<Register<Sum>>(divisors + i);
      return by == Register<Sum>{} ? Register<Sum>{} : sums / by;
    });
  }
  const Sum* factors = row.factors + first;
  const Register<Sum> scale = splat(row.scale);
  return stream_row(out, row.sums + first, count, [=](std::int64_t i, Register<Sum> sums) {
    return sums * (scale * load_as<Register<Sum>>(factors + i));
  });
}

template <class Sum, class T, bool kMax>
void emit(const StitchOut<Sum>& row) {
  constexpr Sum kEmpty = kMax ? -static_cast<Sum>(__builtin_inff()) : Sum{0};
  Sum* sums = row.sums;
  const bool contiguous = row.out_step == static_cast<std::int64_t>(sizeof(T));
  if (contiguous) {
    T* out = reinterpret_cast<T*>(row.out);
    const auto emit_part = [&](std::int64_t begin, std::int64_t end) {
      if (row.divisors != nullptr) {
        emit_divided(out + begin, sums + begin, row.divisors + begin, end - begin);
      } else {
        emit_row<Sum, T, kMax>(out + begin, sums + begin, row.factors + begin, row.scale,
                               end - begin);
      }
    };
    std::int64_t done = 0;
    if constexpr (!kMax && std::is_same_v<T, Sum>) {
      if (row.stream) {
        const std::int64_t first = unaligned(out, row.count);
        emit_part(0, first);
        done = first + stream_part(row, first);
      }
    }
    emit_part(done, row.count);
    return;
  }
  for (std::int64_t i = 0; i < row.count; ++i) {
    Sum value = sums[i];
    if (row.divisors != nullptr) {
      value = row.divisors[i] == 0 ? Sum{0} : value / row.divisors[i];
    } else {
      const Sum factor = row.scale * row.factors[i];
      value = kMax ? (factor == 0 ? Sum{0} : value) : value * factor;
    }
    narrow(value, *reinterpret_cast<T*>(row.out + i * row.out_step));
    sums[i] = kEmpty;
  }
}

template <class Sum, bool kMax>
constexpr void (*kEmit[kDtypes])(const StitchOut<Sum>&) = {
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    &emit<Sum, Half, kMax>,
    &emit<Sum, BFloat16, kMax>,
    &emit<Sum, float, kMax>,
    &emit<Sum, double, kMax>,
};

template <class Sum>
constexpr StitchLoops<Sum> loops() {
  StitchLoops<Sum> made{
      {&add<Sum, std::uint8_t>, &add<Sum, std::uint8_t>, &add<Sum, std::int8_t>,
       &add<Sum, std::int16_t>, &add<Sum, std::int32_t>, &add<Sum, std::int64_t>, &add<Sum, Half>,
       &add<Sum, BFloat16>, &add<Sum, float>, &add<Sum, double>},
      {&keep_max<Sum, std::uint8_t>, &keep_max<Sum, std::uint8_t>, &keep_max<Sum, std::int8_t>,
       &keep_max<Sum, std::int16_t>, &keep_max<Sum, std::int32_t>, &keep_max<Sum, std::int64_t>,
       &keep_max<Sum, Half>, &keep_max<Sum, BFloat16>, &keep_max<Sum, float>,
       &keep_max<Sum, double>},
      {},
      {}};
  for (int type = 0; type < kDtypes; ++type) {
    made.emit[type] = kEmit<Sum, false>[type];
    made.emit_max[type] = kEmit<Sum, true>[type];
  }
  return made;
}

}  // namespace

extern const StitchKernels stitch_kernels_table;
const StitchKernels stitch_kernels_table{loops<float>(), loops<double>(), &fence};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
