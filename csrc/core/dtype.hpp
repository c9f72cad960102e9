// Element types of arrays, with the codes python/tokfrag/_arrays.py gives them.
#pragma once

#include <cstdint>

namespace tokfrag {

enum class Dtype : std::int32_t { kBool, kU8, kI8, kI16, kI32, kI64, kF16, kBF16, kF32, kF64 };

constexpr int kDtypes = 10;

}  // namespace tokfrag
