#include "apps/processes.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <sstream>
#include <thread>

#include "apps/options/arguments.h"
#include "apps/program.h"
#include "apps/run/interrupt.h"
#include "tensor/device.h"
#include "tensor/format.h"
#include "tensor/io/checksum.h"
#include "tensor/io/files.h"
#include "tensor/version.h"

namespace la {
namespace {

/// The exit code of a problem that this process alone has, or all have by themselves: the first of them ends all. The others
/// wait a moment for the signal by which they are ended, so that one line says it where one is enough.
int end_all(const char* name, Collectives& ranks, const std::string& problem, int code) {
  constexpr auto moment = std::chrono::milliseconds(10);
  const int before = interrupted();
  for (int moments = 200; ranks.rank() > 0 && moments > 0; --moments) {
    std::this_thread::sleep_for(moment);
    if (interrupted() != before) ranks.abort(code);  // another has said it
  }
  print(stderr, "{}: {}: {}\n", name, ranks.name(), problem);
  ranks.abort(code);
  return code;
}

int run_together(const char* name, Collectives& ranks, const std::function<int(Collectives&)>& work) {
  try {
    return work(ranks);
  } catch (const AgreedError& error) {
    if (ranks.rank() == 0) print(stderr, "{}: {}\n", name, with_option_names(printable(error.what())));
    return 1;
  } catch (const Interrupted&) {
    // Another may have had the signal.
    return end_all(name, ranks, "interrupted", 128 + (interrupted() != 0 ? interrupted() : SIGTERM));
  } catch (const UsageError& error) {
    return end_all(name, ranks, with_option_names(error.what()), 2);
  } catch (const std::bad_alloc&) {
    return end_all(name, ranks, "out of memory", 1);
  } catch (const std::exception& error) {
    return end_all(name, ranks, with_option_names(printable(error.what())), 1);
  }
}

/// The first lines in which two texts differ, this one's and that of rank 0; empty if there are none.
std::string first_difference(const std::string& own, const std::string& of_first) {
  std::istringstream mine(own), theirs(of_first);
  for (std::string a, b; true;) {
    const bool more_of_mine = static_cast<bool>(std::getline(mine, a)),
               more_of_theirs = static_cast<bool>(std::getline(theirs, b));
    if (!more_of_mine && !more_of_theirs) return "";
    if (more_of_mine != more_of_theirs || a != b)
      return formatted("it has {}, rank 0 has {}", more_of_mine ? a : "nothing",
                       more_of_theirs ? b : "nothing");
  }
}

/// Checksum of the bytes of some picture files, evenly spread: under the same names another machine may have others.
uint32_t checksum_of_some(const Dataset& data, uint32_t crc) {
  constexpr int64_t some = 64;
  for (int64_t i = 0; i < std::min(some, data.size()); ++i) {
    const std::string file = data.name(i * data.size() / std::min(some, data.size()));
    std::error_code none;
    if (!std::filesystem::is_regular_file(file, none)) continue;  // gone, or not a picture by itself
    try {
      const std::string bytes = read_file(file);
      crc = crc32_of(bytes.data(), bytes.size(), crc);
    } catch (const Error&) {  // a bad picture, which is told of when it is to be used
    }
  }
  return crc;
}

std::string fingerprint(const char* name, const Dataset* data) {
  if (data == nullptr) return formatted("no {} pictures\n", name);
  const std::string listing = data->listing();
  uint32_t crc = crc32_of(listing.data(), listing.size());
  if (const auto* array = dynamic_cast<const PictureArray*>(data))
    crc = crc32_of(array->pictures().raw(), array->pictures().bytes(), crc);
  else
    crc = checksum_of_some(*data, crc);
  return formatted("{} {} pictures with checksum {:08x}\n", data->size(), name, crc);
}

}  // namespace

int run_processes(const char* name, const std::function<int(Collectives&)>& work) {
  std::unique_ptr<Collectives> ranks;
  if (const int status = report_errors(name, [&] { return (ranks = join_processes(), 0); }); status != 0)
    return status;
  if (ranks->alone()) return report_errors(name, [&] { return work(*ranks); });
  choose_gpu(*ranks);
  return run_together(name, *ranks, work);
}

int interrupted_anywhere(Collectives& ranks) {
  return ranks.all_reduce("interruption", interrupted(), Reduction::max);
}

std::string choose_threads(const Collectives& ranks, int wanted) {
  if (wanted > 0) {
    set_num_threads(wanted);
    return "";
  }
  if (ranks.alone()) return "";
  cpu_set_t allowed;
  const int allowed_cores =
      sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : num_threads();
  const int cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const int share = std::max(1, cores / ranks.ranks_of_host());
  set_num_threads(std::min(share, allowed_cores));
  if (allowed_cores >= share) return "";
  return formatted(
      "{} of {} cores for each process, though its share is {}: mpirun --bind-to none lets it have them",
      allowed_cores, cores, share);
}

ProgressCallback interruptible(Progress& progress, const Collectives& ranks) {
  if (ranks.rank() == 0) return progress.callback();
  return [](std::string_view, int64_t, int64_t) {
    if (interrupted() != 0) throw Interrupted();
  };
}

void check_same(Collectives& ranks, const std::string& configuration, const DataSource& data) {
  if (ranks.alone()) return;
  const std::string own = formatted("version {}\n", version) + configuration +
                          fingerprint("training", data.train.get()) + fingerprint("test", data.test.get());
  const std::string of_first = ranks.broadcast("configuration", own, 0);
  const std::string difference = first_difference(own, of_first);
  ranks.agree(
      "whether all do the same",
      difference.empty() ? "" : "all processes must do the same with the same pictures, but " + difference);
}

}  // namespace la
