// Gradients through a matrix whose rows share their columns by eights; layouts have row groups.
//
// The forward product differs in its kernel only, and stands with the others in products.cpp.
#pragma once

#include "sparse/products.hpp"

namespace tokfrag::sparse {

// As multiply_transposed and sample, which call these.
void multiply_transposed_blocks(Element element, const Layout& layout, Batch x, const void* values,
                                void* y, int threads);
void sample_blocks(Element element, const Layout& layout, Batch grad, const void* x, void* out,
                   int threads);

}  // namespace tokfrag::sparse
