#include <pthread.h>
#include <pybind11/numpy.h>

#include <atomic>
#include <memory>

#include "bindings/bindings.hpp"
#include "core/huge_buffer.hpp"
#include "core/interrupt.hpp"
#include "core/isa.hpp"
#include "core/parallel.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

// Signal handlers run on Python's main thread only, so elsewhere there is nothing to ask.
std::atomic<unsigned long> main_thread{0};

void check_signals() {
  if (PyThread_get_thread_ident() != main_thread.load(std::memory_order_relaxed)) return;
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

py::array_t<std::uint8_t> empty_bytes(std::int64_t count) {
  auto buffer = std::make_unique<HugeBuffer>(count);
  auto* address = buffer->as<std::uint8_t>();
  const py::capsule owner(buffer.release(),
                          [](void* held) { delete static_cast<HugeBuffer*>(held); });
  return py::array_t<std::uint8_t>({count}, {std::int64_t{1}}, address, owner);
}

}  // namespace

void bind_core(py::module_& module) {
  main_thread =
      py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
  // Whichever thread forks is the main one of the child.
  static const int fork_handler =
      pthread_atfork(nullptr, nullptr, [] { main_thread.store(PyThread_get_thread_ident()); });
  static_cast<void>(fork_handler);
  set_interrupt_check(&check_signals);

  module.attr("__version__") = TOKFRAG_VERSION;
  module.def("default_threads", &default_threads);
  module.def("active_isa", [] { return isa_name(active_isa()); });
  module.def("supported_isas", [] {
    py::list names;
    for (const Isa isa : {Isa::kBaseline, Isa::kV3, Isa::kV4}) {
      if (isa_supported(isa)) names.append(isa_name(isa));
    }
    return names;
  });
  module.def("empty_bytes", &empty_bytes, py::arg("count"),
             "An uninitialised uint8 array, 64-byte aligned, on huge pages when large.");
  module.def(
      "advise_huge_pages",
      [](std::uintptr_t address, std::int64_t bytes) {
        advise_huge_pages(reinterpret_cast<void*>(address), bytes);
      },
      py::arg("address"), py::arg("bytes"));
  module.def(
      "busy_work",
      [](std::int64_t count, std::int64_t grain, int threads) {
        // Sums 0..count-1 over the pool, slowly: what tests/test_threads.py drives.
        std::atomic<std::int64_t> total{0};
        const ReleaseGil nogil;
        parallel_for(count, grain, threads, [&](std::int64_t begin, std::int64_t end, int) {
          std::int64_t sum = 0;
          for (std::int64_t i = begin; i < end; ++i) {
            volatile std::int64_t item = i;
            sum += item;
            if (i % 4096 == 0) poll_interrupt();
          }
          total.fetch_add(sum);
        });
        return total.load();
      },
      py::arg("count"), py::arg("grain") = 1, py::arg("threads") = 0,
      "Sums range(count) on the thread pool.");
}

}  // namespace tokfrag
