// Ctrl-C in long native work.
#pragma once

namespace tokfrag {

// What a poll calls: it throws to abandon the work. Set once by the bindings; nothing by default.
using InterruptCheck = void (*)();
void set_interrupt_check(InterruptCheck check);

// Cheap enough for inner loops of a microsecond or more: asks at most every 20 ms. Call it only
// where no lock is held. On worker threads, for which parallel_for asks, it only leaves a job that
// has been abandoned.
void poll_interrupt();

}  // namespace tokfrag
