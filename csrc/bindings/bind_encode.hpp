// One text to an array of ids: what every way into a byte-pair model shares.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>

#include "tokens/byte_pair/model.hpp"

namespace tokfrag {

pybind11::array_t<std::uint32_t> encode(const Model& model, pybind11::handle text,
                                        AllowedSpecial allowed, std::int64_t limit);

// A function encode(text[, allowed[, limit]]) of plain CPython around a model, which it keeps: for
// brief texts, dispatch by pybind11 would be a third of the call.
pybind11::object encode_function(const pybind11::object& model);

}  // namespace tokfrag
