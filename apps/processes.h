// Programs that run as several processes, by mpirun or Slurm (tensor/collectives.h): how they begin, agree and end.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/run/progress.h"
#include "data/dataset.h"
#include "tensor/collectives.h"

namespace la {

/// As report_errors (apps/program.h), for work that several processes may do together. What goes wrong in one ends them all; the
/// line that says so names the rank and its host.
int run_processes(const char* name, const std::function<int(Collectives&)>& work);

/// The signal by which the user has interrupted any of the processes, or 0. All must ask.
int interrupted_anywhere(Collectives& ranks);

/// CPU threads for each process: those asked for, or as many as let all processes of this host share its cores; returns a
/// warning where it may use fewer cores than its share, or an empty text.
std::string choose_threads(const Collectives& ranks, int wanted);

/// For long work that has nothing to save: the first process shows how far it is. In each, an Interrupted ends it.
ProgressCallback interruptible(Progress& progress, const Collectives& ranks);

/// An Error on all processes unless they are of one version of the program, and have the same configuration (lines of options, of
/// which what may differ has been left out) and the same pictures.
void check_same(Collectives& ranks, const std::string& configuration, const DataSource& data);

}  // namespace la
