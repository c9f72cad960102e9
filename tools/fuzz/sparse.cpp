// Stored patterns with some bytes changed: refused, or sound for every product.
#include <stdexcept>
#include <vector>

#include "input.hpp"
#include "sparse/layout.hpp"
#include "sparse/products.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace sparse = tokfrag::sparse;
  fuzz::Input input(data, size);
  const std::int64_t rows = input.between(1, 200);
  const std::int64_t columns = input.between(1, 200);
  const auto dense = static_cast<std::uint8_t>(input.byte());
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(rows * columns));
  std::uint32_t state = static_cast<std::uint32_t>(input.below(65536)) + 1;
  for (std::uint8_t& bit : mask) {
    state = state * 1664525u + 1013904223u;
    bit = static_cast<std::uint8_t>(state >> 24) < dense ? 1 : 0;
  }
  const std::int64_t chunks = (columns + sparse::kTile - 1) / sparse::kTile;
  std::vector<std::uint8_t> runs(static_cast<std::size_t>(chunks * rows * 2));
  const std::int64_t nnz = sparse::encode_runs(mask.data(), rows, columns, runs.data());
  std::vector<std::uint8_t> local(static_cast<std::size_t>(nnz));
  sparse::encode_columns(mask.data(), rows, columns, runs.data(), local.data());
  const std::int64_t changes = input.below(3);
  for (std::int64_t i = 0; i < changes; ++i) {
    std::vector<std::uint8_t>& changed = input.byte() % 2 == 0 || nnz == 0 ? runs : local;
    const auto place = static_cast<std::size_t>(input.below(1 << 15)) % changed.size();
    changed[place] = input.byte();
  }
  try {
    const sparse::Pattern pattern(local.data(), runs.data(), rows, columns, nnz);
    const std::int64_t batch = input.between(0, 5);
    const std::vector<float> values(static_cast<std::size_t>(nnz), 1.5f);
    const std::vector<float> x(static_cast<std::size_t>(batch * std::max(rows, columns)), 2.0f);
    std::vector<float> y(x.size());
    const sparse::Layout layout = pattern.in_blocks() ? pattern.blocked(local.data(), runs.data())
                                                      : pattern.layout(local.data(), runs.data());
    sparse::multiply(sparse::kFloat32, layout, {x.data(), batch}, values.data(), nullptr, y.data(),
                     1);
    sparse::multiply_transposed(sparse::kFloat32, pattern, layout, {x.data(), batch}, values.data(),
                                y.data(), 1);
    std::vector<float> gradient(values.size());
    sparse::sample(sparse::kFloat32, layout, {x.data(), batch}, x.data(), gradient.data(), 1);
  } catch (const std::invalid_argument&) {
    return 0;  // refused
  }
  return 0;
}
