#include "core/isa.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace tokfrag {

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kV4:
      return "v4";
    case Isa::kV3:
      return "v3";
    case Isa::kBaseline:
      break;
  }
  return "baseline";
}

bool isa_supported(Isa isa) {
#ifdef TOKFRAG_X86_LEVELS
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  switch (isa) {
    case Isa::kV4:
      return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case Isa::kV3:
      return v3;
    case Isa::kBaseline:
      break;
  }
  return true;
#else
  return isa == Isa::kBaseline;
#endif
}

static Isa choose_isa() {
  const char* asked = std::getenv("TOKFRAG_ISA");
  for (const Isa isa : {Isa::kV4, Isa::kV3, Isa::kBaseline}) {
    if (asked == nullptr || *asked == '\0') {
      if (isa_supported(isa)) return isa;
    } else if (std::string(asked) == isa_name(isa)) {
      if (isa_supported(isa)) return isa;
      throw std::invalid_argument("TOKFRAG_ISA: this machine lacks " + std::string(asked));
    }
  }
  throw std::invalid_argument("TOKFRAG_ISA: got '" + std::string(asked) +
                              "', takes baseline, v3 or v4");
}

Isa active_isa() {
  static const Isa isa = choose_isa();
  return isa;
}

}  // namespace tokfrag
