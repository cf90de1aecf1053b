// Collectives: what several processes that train together do together, on tensors of either device. Each process is a rank,
// numbered from 0; all of them call the same function in the same order, with the same shapes where nothing else is said. A
// process alone does nothing. What travels, and how much, is counted under the name that each call gives.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace la {

enum class Reduction { sum, max };

/// What went wrong in one process, as all of them have been told: it names the rank.
struct AgreedError : Error {
  using Error::Error;
};

/// Something that ranks exchange while they go on with other work. It keeps its tensors until it is finished; until then what is
/// received is undefined, and what is sent must stay as it is.
class Exchange {
 public:
  virtual ~Exchange() = default;
  /// Whether it is finished, without waiting. What travels by MPI moves on only when this is called, or anything is waited for.
  virtual bool done() { return true; }
  virtual void wait() {}
};

class Collectives {
 public:
  virtual ~Collectives() = default;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool alone() const { return size_ == 1; }
  /// The machine that this rank runs on, how many ranks run there, and which of them this is.
  const std::string& host() const { return host_; }
  int ranks_of_host() const { return ranks_of_host_; }
  int rank_of_host() const { return rank_of_host_; }
  /// Whether several of them use one GPU (choose_gpu).
  bool share_gpus() const { return share_gpus_; }
  void set_share_gpus(bool share) { share_gpus_ = share; }
  /// "rank 3 of 8 (node7)"
  std::string name() const;

  /// x <- the sum, or the largest, of all ranks' x, element by element: f32 or i32. In what order it adds is not said, so that
  /// sums of f32 may differ in their last bits from one number of ranks to another (tensor/shards.h adds in a fixed order).
  void all_reduce(const char* what, const Tensor& x, Reduction reduction);
  /// all <- the rows of all ranks, one below the other, rows[r] of them from rank r; `own` are those of this rank.
  void all_gather(const char* what, const Tensor& own, const Tensor& all, std::span<const int64_t> rows);
  /// `from` and `to` consist of as many equal parts as there are ranks, along the first dimension: part r of `from` goes to
  /// rank r, and part r of `to` has come from it.
  void all_to_all(const char* what, const Tensor& from, const Tensor& to);
  /// The same two, started: they go on during other work, those of GPUs by NCCL on the stream, in order with all other work there.
  /// All ranks start those of each kind in the same order; any other calls may come between, here and there at other places.
  std::unique_ptr<Exchange> start_all_gather(const char* what, const Tensor& own, const Tensor& all,
                                             std::span<const int64_t> rows);
  std::unique_ptr<Exchange> start_all_to_all(const char* what, const Tensor& from, const Tensor& to);
  /// to <- this rank's part of the sum of all ranks' `from`, f32, which consists of as many equal parts as there are ranks. In
  /// what order it adds is not said.
  void reduce_scatter(const char* what, const Tensor& from, const Tensor& to);
  /// x <- that of rank `root`.
  void broadcast(const char* what, const Tensor& x, int root);
  /// Waits for all ranks.
  void barrier(const char* what);

  /// The same of one number: the sum, or the largest, of all ranks; and the number of each rank.
  int32_t all_reduce(const char* what, int32_t x, Reduction reduction);
  std::vector<int64_t> all_gather(const char* what, int64_t x);
  /// Numbers of all ranks, one rank after the other; each may have another number of them.
  std::vector<int32_t> all_gather(const char* what, const std::vector<int32_t>& own);
  /// The same for text, whose lengths may differ.
  std::string broadcast(const char* what, const std::string& text, int root);
  std::vector<std::string> all_gather(const char* what, const std::string& text);

  /// An AgreedError on all ranks if one of them, or several, has a problem, which it says in words: that of the first, with its
  /// name. Nobody goes on before all have come here.
  void agree(const char* what, const std::string& problem);

  /// Whether work that calls these can be recorded (tensor/captured_step.h).
  virtual bool can_be_recorded() const { return true; }
  /// Whether it adds in an order of its own, so that shards need not, and cannot, keep theirs.
  virtual bool has_own_order() const { return false; }
  /// How long a rank waits for the others before this is an Error; at first ten minutes.
  virtual void set_timeout(double seconds) { static_cast<void>(seconds); }
  /// What the user can do then, which that Error ends with.
  void set_advice(const std::string& advice) { advice_ = advice; }
  /// Which ranks do not come, in words, once this one has waited too long.
  virtual std::string missing_ranks() { return "the other ranks"; }
  /// Ends all ranks at once, this one included, with that exit code.
  [[noreturn]] virtual void abort(int code);

  /// Bytes that this rank has sent, by what they were for: those of a ring, where each rank sends to the next.
  const std::map<std::string, int64_t>& bytes_sent() const { return bytes_sent_; }

 protected:
  virtual void do_all_reduce(const char* what, const Tensor& x, Reduction reduction);
  virtual void do_all_gather(const char* what, const Tensor& own, const Tensor& all,
                             std::span<const int64_t> rows);
  virtual void do_all_to_all(const char* what, const Tensor& from, const Tensor& to);
  /// Where nothing else is said, they are done, or on the stream, when this returns.
  virtual std::unique_ptr<Exchange> do_start_all_gather(const char* what, const Tensor& own,
                                                        const Tensor& all, std::span<const int64_t> rows);
  virtual std::unique_ptr<Exchange> do_start_all_to_all(const char* what, const Tensor& from,
                                                        const Tensor& to);
  virtual void do_reduce_scatter(const char* what, const Tensor& from, const Tensor& to);
  virtual void do_broadcast(const char* what, const Tensor& x, int root);
  virtual void do_barrier(const char*) {}

  int rank_ = 0, size_ = 1;
  std::string host_;
  int ranks_of_host_ = 1, rank_of_host_ = 0;
  std::string advice_;

 private:
  void count(const char* what, double share, size_t bytes);
  void count_all_gather(const char* what, const Tensor& own, const Tensor& all,
                        std::span<const int64_t> rows);
  void count_all_to_all(const char* what, const Tensor& from, const Tensor& to);

  bool share_gpus_ = false;
  std::map<std::string, int64_t> bytes_sent_;
};

/// By what tensors on that device are exchanged: NCCL between GPUs, or MPI where a GPU has several processes; or MPI in any case,
/// through host memory.
enum class Carrier { fastest, mpi };
/// `processes`, or what they make use of for tensors of a GPU, which is kept in `own`. All of them must call it.
Collectives& collectives_for(Device device, Carrier carrier, Collectives& processes,
                             std::unique_ptr<Collectives>& own);

/// Lets each process of a host see a GPU of its own, if there are several; before the first use of a GPU. Where there are fewer GPUs
/// than processes, some share one.
void choose_gpu(Collectives& processes);

/// A process alone: for all that is not told of others.
Collectives& alone();

/// Whether mpirun or Slurm has started this process together with others.
bool started_with_others();
/// The processes that mpirun or Slurm has started together, this one among them; a process alone where it was started by
/// itself. An Error if there are others but MPI cannot be used.
std::unique_ptr<Collectives> join_processes();

}  // namespace la
