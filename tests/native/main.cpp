// Runs every native test; built plain and under sanitizers. See tests/core/test_native.py.
#include "check.hpp"

int main() {
  for (const auto& test : tokfrag_test::cases()) {
    const int before = tokfrag_test::failures();
    test.run();
    std::printf("%s %s\n", tokfrag_test::failures() == before ? "ok  " : "FAIL", test.name.c_str());
  }
  return tokfrag_test::failures() == 0 ? 0 : 1;
}
