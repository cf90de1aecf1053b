// Interrupt: Ctrl-C (SIGINT), SIGTERM and a closed terminal (SIGHUP) ask a run to stop at the next step,
// after a checkpoint.
#pragma once

namespace la {

/// From now on the first of these signals makes interrupted() true and ends waiting for a file, and the
/// second ends the program at once. One that was ignored when the program started, as by nohup, stays
/// ignored. A reader of the output that went away (SIGPIPE) ends nothing.
void catch_interrupts();
/// The signal that came, or 0.
int interrupted();

/// Thrown where long work ends because of it.
struct Interrupted {};

}  // namespace la
