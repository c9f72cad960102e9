// Work without the GIL, also on threads that the interpreter leaves behind at its end.
#pragma once

#include <Python.h>
#include <unistd.h>

namespace tokfrag {

// Lets other threads run Python until it goes out of scope.
//
// Instead of pybind11's own class, whose destructor takes the GIL back too: a daemon thread that
// asks for it while the interpreter ends is answered with pthread_exit (before Python 3.14), whose
// unwinding may not leave a destructor: the process aborts. Here such a thread sleeps for ever, as
// it does from Python 3.14 on. What it owns is left alone: without the GIL nothing can be freed.
class ReleaseGil {
 public:
  ReleaseGil() : state_(PyEval_SaveThread()) {}
  ~ReleaseGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      // Only pthread_exit gets here, and to leave this handler would end the process.
      for (;;) pause();
    }
  }
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace tokfrag
