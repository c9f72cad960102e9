#include "bindings/bindings.hpp"

namespace py = pybind11;

namespace tokfrag {

void bind_tokens(py::module_& module) { module.def_submodule("tokens"); }

}  // namespace tokfrag
