#include "bindings/bindings.hpp"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  tokfrag::bind_core(module);
  tokfrag::bind_tokens(module);
  tokfrag::bind_fragments(module);
}
