#include "bindings/bindings.hpp"

namespace py = pybind11;

namespace tokfrag {

void bind_fragments(py::module_& module) { module.def_submodule("fragments"); }

}  // namespace tokfrag
