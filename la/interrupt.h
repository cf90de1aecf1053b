// Interrupt: Ctrl-C (SIGINT) and SIGTERM ask a run to stop at the next step, after a checkpoint.
#pragma once

namespace la {

/// From now on the first SIGINT or SIGTERM makes interrupted() true, and the second ends the program at once.
void catch_interrupts();
bool interrupted();

}  // namespace la
