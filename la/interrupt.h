// Interrupt: Ctrl-C (SIGINT), SIGTERM and a closed terminal (SIGHUP) ask a run to stop at the next step,
// after a checkpoint.
#pragma once

namespace la {

/// From now on the first of these signals makes interrupted() true, and the second ends the program at once;
/// a reader of the output that went away (SIGPIPE) ends nothing.
void catch_interrupts();
/// The signal that came, or 0.
int interrupted();

/// Thrown where long work ends because of it.
struct Interrupted {};

}  // namespace la
