// What the sparse products share: element sizes, batch tiles, scratch memory, shares of work.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dtype.hpp"
#include "sparse/layout.hpp"

namespace tokfrag::sparse {

inline std::int64_t element_size(Element element) {
  return element == kFloat64 ? 8 : element == kFloat32 ? 4 : 2;
}
// Half and bfloat16 are computed in float.
inline std::int64_t real_size(Element element) { return element == kFloat64 ? 8 : 4; }
inline std::size_t real_index(Element element) { return element == kFloat64 ? 1 : 0; }

inline const char* at(const void* base, std::int64_t items, std::int64_t size) {
  return static_cast<const char*>(base) + items * size;
}
inline char* at(void* base, std::int64_t items, std::int64_t size) {
  return static_cast<char*>(base) + items * size;
}

// Memory a thread keeps from call to call: fresh pages would cost more than a small product.
enum Scratch { kPanel, kRows, kValues, kSums, kScratches };
void* scratch(Scratch which, std::int64_t bytes);

// Up to 64 inputs that are worked on together; short ones are filled up with zeros.
struct BatchTile {
  std::int64_t first;
  std::int64_t valid;
  std::int64_t lanes;
  std::size_t choice;  // lanes == 16 << choice
};
std::vector<BatchTile> batch_tiles(std::int64_t batch);

// Cuts the row blocks into groups of about equal non-zeros whose batch tile stays in the second
// cache; returns the boundaries. `wanted`: how many groups threads would like.
std::vector<std::int64_t> row_groups(const Layout& layout, std::int64_t wanted);
// The same for column chunks.
std::vector<std::int64_t> chunk_groups(const Layout& layout, std::int64_t wanted);

// One thread for what takes less than about 100 us.
int threads_for(double work, int threads);

inline std::int64_t nnz_of(const Layout& layout) {
  return layout.starts[layout.chunks() * layout.row_blocks()];
}

}  // namespace tokfrag::sparse
