// Element types of sparse products; python/tokfrag/sparse/_operators.py gives the same numbers.
#pragma once

namespace tokfrag::sparse {

enum Element : int { kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 3 };
constexpr int kElements = 4;

}  // namespace tokfrag::sparse
