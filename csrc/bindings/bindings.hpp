// One function a subject, each in bind_<subject>.cpp; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace tokfrag {

void bind_core(pybind11::module_& module);       // threads, instruction set, memory
void bind_tokens(pybind11::module_& module);     // tokfrag._core.tokens
void bind_fragments(pybind11::module_& module);  // tokfrag._core.fragments

}  // namespace tokfrag
