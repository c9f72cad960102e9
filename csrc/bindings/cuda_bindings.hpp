// The parts of the CUDA module, one function a subject; cuda_module.cpp calls them.
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/release_gil.hpp"

namespace tokfrag {

void bind_cuda_patches(pybind11::module_& parent);
void bind_cuda_sparse(pybind11::module_& parent);

}  // namespace tokfrag
