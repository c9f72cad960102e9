// Run-time choice of the instruction set.
//
// A file named *_kernel.cpp is compiled once for each level, with TOKFRAG_ISA naming the namespace
// (baseline, v3, v4); it defines one table of function pointers there. `select_isa` picks the table
// for this machine. TOKFRAG_ISA in the environment forces a level, for tests and comparisons.
#pragma once

namespace tokfrag {

enum class Isa { kBaseline, kV3, kV4 };

// The best level this machine has, or what TOKFRAG_ISA asks for; decided once, at first use.
// Throws std::invalid_argument if TOKFRAG_ISA names no level, or one this machine lacks.
Isa active_isa();

const char* isa_name(Isa isa);
bool isa_supported(Isa isa);

#ifdef TOKFRAG_X86_LEVELS
template <class Table>
const Table& select_isa(const Table& baseline, const Table& v3, const Table& v4) {
  switch (active_isa()) {
    case Isa::kV4:
      return v4;
    case Isa::kV3:
      return v3;
    case Isa::kBaseline:
      break;
  }
  return baseline;
}

// Declares `table` in each level's namespace and defines `accessor()`, which chooses.
#define TOKFRAG_ISA_TABLE(Table, table, accessor) \
  namespace baseline {                            \
  extern const Table table;                       \
  }                                               \
  namespace v3 {                                  \
  extern const Table table;                       \
  }                                               \
  namespace v4 {                                  \
  extern const Table table;                       \
  }                                               \
  inline const Table& accessor() { return select_isa(baseline::table, v3::table, v4::table); }
#else
#define TOKFRAG_ISA_TABLE(Table, table, accessor) \
  namespace baseline {                            \
  extern const Table table;                       \
  }                                               \
  inline const Table& accessor() { return baseline::table; }
#endif

}  // namespace tokfrag
