#include "tensor/collectives.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <sstream>

#include "tensor/cuda/nccl_collectives.h"
#include "tensor/mpi/mpi_collectives.h"
#include "tensor/ops.h"

namespace la {

std::string Collectives::name() const { return formatted("rank {} of {} ({})", rank_, size_, host_); }

void Collectives::count(const char* what, double share, size_t bytes) {
  if (size_ > 1) bytes_sent_[what] += std::llround(share * static_cast<double>(bytes));
}

void Collectives::all_reduce(const char* what, const Tensor& x, Reduction reduction) {
  check(x.dtype() == DType::f32 || x.dtype() == DType::i32, "all_reduce: {} of {}, expected f32 or i32", what,
        x.dtype());
  count(what, 2.0 * (size_ - 1) / size_, x.bytes());
  do_all_reduce(what, x, reduction);
}

void Collectives::count_all_gather(const char* what, const Tensor& own, const Tensor& all,
                                   std::span<const int64_t> rows) {
  const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  check(std::ssize(rows) == size_ && rows[static_cast<size_t>(rank_)] == own.size(0) &&
            total == all.size(0) && own.dtype() == all.dtype() &&
            own.numel() * all.size(0) == all.numel() * own.size(0),
        "all_gather: {} of shape {} for {} rows of all ranks", what, own.shape(), all.size(0));
  count(what, size_ - 1, own.bytes());
}

void Collectives::count_all_to_all(const char* what, const Tensor& from, const Tensor& to) {
  check(from.shape() == to.shape() && from.dtype() == to.dtype() && from.size(0) % size_ == 0,
        "all_to_all: {} from shape {} to {}, expected {} equal parts", what, from.shape(), to.shape(), size_);
  count(what, static_cast<double>(size_ - 1) / size_, from.bytes());
}

void Collectives::all_gather(const char* what, const Tensor& own, const Tensor& all,
                             std::span<const int64_t> rows) {
  count_all_gather(what, own, all, rows);
  do_all_gather(what, own, all, rows);
}

std::unique_ptr<Exchange> Collectives::start_all_gather(const char* what, const Tensor& own,
                                                        const Tensor& all, std::span<const int64_t> rows) {
  count_all_gather(what, own, all, rows);
  return do_start_all_gather(what, own, all, rows);
}

void Collectives::all_to_all(const char* what, const Tensor& from, const Tensor& to) {
  count_all_to_all(what, from, to);
  do_all_to_all(what, from, to);
}

std::unique_ptr<Exchange> Collectives::start_all_to_all(const char* what, const Tensor& from,
                                                        const Tensor& to) {
  count_all_to_all(what, from, to);
  return do_start_all_to_all(what, from, to);
}

void Collectives::reduce_scatter(const char* what, const Tensor& from, const Tensor& to) {
  check(from.dtype() == DType::f32 && to.dtype() == DType::f32 && from.numel() == to.numel() * size_,
        "reduce_scatter: {} from shape {} to {}, expected {} equal parts of f32", what, from.shape(),
        to.shape(), size_);
  count(what, static_cast<double>(size_ - 1) / size_, from.bytes());
  do_reduce_scatter(what, from, to);
}

void Collectives::broadcast(const char* what, const Tensor& x, int root) {
  count(what, rank_ == root ? size_ - 1 : 0, x.bytes());
  do_broadcast(what, x, root);
}

void Collectives::barrier(const char* what) { do_barrier(what); }

std::string Collectives::broadcast(const char* what, const std::string& text, int root) {
  if (alone()) return text;
  const Tensor length = Tensor::from(std::vector<int64_t>{static_cast<int64_t>(text.size())}, {1});
  broadcast(what, length, root);
  Tensor bytes({length.data<int64_t>()[0]}, DType::u8);
  if (rank_ == root) bytes.copy_from_host(text.data());
  broadcast(what, bytes, root);
  return {static_cast<const char*>(bytes.raw()), bytes.bytes()};
}

int32_t Collectives::all_reduce(const char* what, int32_t x, Reduction reduction) {
  const Tensor number = Tensor::from(std::vector<int32_t>{x}, {1});
  all_reduce(what, number, reduction);
  return number.data<int32_t>()[0];
}

std::vector<int64_t> Collectives::all_gather(const char* what, int64_t x) {
  const Tensor all({size_}, DType::i64);
  all_gather(what, Tensor::from(std::vector<int64_t>{x}, {1}), all,
             std::vector<int64_t>(static_cast<size_t>(size_), 1));
  return all.to_vector<int64_t>();
}

std::vector<int32_t> Collectives::all_gather(const char* what, const std::vector<int32_t>& own) {
  if (alone()) return own;
  const std::vector<int64_t> counts = all_gather(what, std::ssize(own));
  const Tensor all({std::accumulate(counts.begin(), counts.end(), int64_t{0})}, DType::i32);
  all_gather(what, Tensor::from(own, {std::ssize(own)}), all, counts);
  return all.to_vector<int32_t>();
}

std::vector<std::string> Collectives::all_gather(const char* what, const std::string& text) {
  const std::vector<int64_t> rows = all_gather(what, std::ssize(text));
  Tensor own({static_cast<int64_t>(text.size())}, DType::u8);
  const Tensor all({std::accumulate(rows.begin(), rows.end(), int64_t{0})}, DType::u8);
  if (!text.empty()) own.copy_from_host(text.data());
  all_gather(what, own, all, rows);
  std::vector<std::string> texts;
  const char* next = static_cast<const char*>(all.raw());
  for (const int64_t size : rows) {
    texts.emplace_back(next, static_cast<size_t>(size));
    next += size;
  }
  return texts;
}

void Collectives::agree(const char* what, const std::string& problem) {
  const std::vector<std::string> problems = all_gather(what, problem.empty() ? "" : name() + ": " + problem);
  if (alone()) check(problem.empty(), "{}", problem);
  for (const std::string& each : problems)
    if (!each.empty()) throw AgreedError(each);
}

void Collectives::abort(int code) { std::exit(code); }

// ---- A process alone --------------------------------------------------------------------------------------

void Collectives::do_all_reduce(const char*, const Tensor&, Reduction) {}
void Collectives::do_all_gather(const char*, const Tensor& own, const Tensor& all, std::span<const int64_t>) {
  ops::copy_into(all, own.reshape(all.shape()));
}
void Collectives::do_all_to_all(const char*, const Tensor& from, const Tensor& to) {
  ops::copy_into(to, from);
}
void Collectives::do_reduce_scatter(const char*, const Tensor& from, const Tensor& to) {
  ops::copy_into(to, from.reshape(to.shape()));
}
void Collectives::do_broadcast(const char*, const Tensor&, int) {}

std::unique_ptr<Exchange> Collectives::do_start_all_gather(const char* what, const Tensor& own,
                                                           const Tensor& all, std::span<const int64_t> rows) {
  do_all_gather(what, own, all, rows);
  return std::make_unique<Exchange>();
}
std::unique_ptr<Exchange> Collectives::do_start_all_to_all(const char* what, const Tensor& from,
                                                           const Tensor& to) {
  do_all_to_all(what, from, to);
  return std::make_unique<Exchange>();
}

Collectives& alone() {
  static Collectives process;
  return process;
}

Collectives& collectives_for(Device device, Carrier carrier, Collectives& processes,
                             std::unique_ptr<Collectives>& own) {
  if (device.is_cpu() || processes.alone() || carrier == Carrier::mpi || processes.share_gpus())
    return processes;
  own = make_nccl_collectives(processes);
  return *own;
}

void choose_gpu(Collectives& processes) {
  constexpr const char* visible = "CUDA_VISIBLE_DEVICES";
  if (processes.alone()) return;
  std::vector<std::string> gpus;
  if (const char* listed = std::getenv(visible); listed != nullptr) {
    std::istringstream names(listed);
    for (std::string gpu; std::getline(names, gpu, ',');) gpus.push_back(gpu);
  } else {
    std::error_code none;  // where there is no driver
    for (std::filesystem::directory_iterator gpu("/proc/driver/nvidia/gpus", none), end; !none && gpu != end;
         gpu.increment(none))
      gpus.push_back(std::to_string(gpus.size()));
  }
  const int32_t too_few = std::ssize(gpus) < processes.ranks_of_host() ? 1 : 0;
  processes.set_share_gpus(processes.all_reduce("whether GPUs are shared", too_few, Reduction::max) == 1);
  if (gpus.size() < 2) return;
  setenv(visible, gpus[static_cast<size_t>(processes.rank_of_host()) % gpus.size()].c_str(), 1);
}

bool started_with_others() {
  // How many there are, as mpirun says it, or Slurm where it has given this one a rank.
  const bool by_slurm = std::getenv("PMIX_RANK") != nullptr || std::getenv("PMI_RANK") != nullptr;
  const char* count = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (count == nullptr && by_slurm) count = std::getenv("SLURM_STEP_NUM_TASKS");
  return count != nullptr && std::string_view(count) != "1";
}

std::unique_ptr<Collectives> join_processes() {
  return started_with_others() ? make_mpi_collectives() : std::make_unique<Collectives>();
}

}  // namespace la
