// One function a subject, each in bind_<subject>.cpp; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/release_gil.hpp"

namespace tokfrag {

void bind_core(pybind11::module_& module);          // threads, instruction set, memory
void bind_tokens(pybind11::module_& module);        // tokfrag._core.tokens
void bind_live(pybind11::module_& module);          // tokfrag._core.live
void bind_spans(pybind11::module_& module);         // tokfrag._core.spans
void bind_formats(pybind11::module_& module);       // tokfrag._core.formats
void bind_training(pybind11::module_& module);      // tokfrag._core.training
void bind_wordpiece(pybind11::module_& module);     // tokfrag._core.wordpiece
void bind_fragments(pybind11::module_& module);     // tokfrag._core.fragments
void bind_conversion(pybind11::module_& module);    // extract_converted of the same
void bind_features(pybind11::module_& module);      // tokfrag._core.features
void bind_segments(pybind11::module_& module);      // tokfrag._core.segments
void bind_stitching(pybind11::module_& module);     // tokfrag._core.stitching
void bind_sparse(pybind11::module_& module);        // tokfrag._core.sparse
void bind_stream(pybind11::module_& module);        // tokfrag._core.stream
void bind_added_tokens(pybind11::module_& module);  // tokfrag._core.added_tokens
void bind_writing(pybind11::module_& module);       // tokfrag._core.writing
void bind_unigram(pybind11::module_& module);       // tokfrag._core.unigram
void bind_arrow(pybind11::module_& module);         // tokfrag._core.arrow

}  // namespace tokfrag
