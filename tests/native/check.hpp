// The least a native test needs: a registry and a check that says where it failed.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace tokfrag_test {

struct Case {
  std::string name;
  std::function<void()> run;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

struct Register {
  Register(std::string name, std::function<void()> run) {
    cases().push_back({std::move(name), std::move(run)});
  }
};

}  // namespace tokfrag_test

#define NATIVE_TEST(name)                                             \
  static void name();                                                 \
  static const tokfrag_test::Register name##_registered{#name, name}; \
  static void name()

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      std::printf("%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
      ++tokfrag_test::failures();                                               \
    }                                                                           \
  } while (false)
