// Element types of arrays, with the codes python/tokfrag/_arrays.py gives them.
#pragma once

#include <cstdint>

namespace tokfrag {

enum class Dtype : std::int32_t { kBool, kU8, kI8, kI16, kI32, kI64, kF16, kBF16, kF32, kF64 };

constexpr int kDtypes = 10;

namespace sparse {

// The floating types, as sparse products number them; python/tokfrag/sparse/_operators.py too.
enum Element : int { kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 3 };
constexpr int kElements = 4;

}  // namespace sparse

}  // namespace tokfrag
