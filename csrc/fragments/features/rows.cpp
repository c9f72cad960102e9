#include "fragments/features/rows.hpp"

#include <algorithm>

namespace tokfrag {

std::int64_t row_ring(const std::int64_t* starts, std::int64_t count, std::int64_t size) {
  std::int64_t most = 1;
  std::int64_t first = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    while (starts[first] + size <= starts[i]) ++first;
    most = std::max(most, i - first + 1);
  }
  const bool pays = most > 1 && 16 * most <= size;
  std::int64_t ring = 1;
  while (pays && ring < 2 * most) ring *= 2;
  return pays ? ring : 0;
}

}  // namespace tokfrag
