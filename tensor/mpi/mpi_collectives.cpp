// Collectives by OpenMPI, which is loaded when processes have been started together. Every call is one that does not block,
// and is waited for here, so that a rank that never comes is found out by a deadline. Tensors of a GPU go through host memory.
// MPI matches the calls of one communicator by their order. Calls that are waited for at once have the order of the program,
// on all ranks the same; those that are started lie between them where each rank comes to it, and so have communicators of their own.
#include "tensor/mpi/mpi_collectives.h"

#define OMPI_SKIP_MPICXX  // its interface for C++, which would need to be linked
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <limits>
#include <thread>
#include <vector>

#include "tensor/clock.h"
#include "tensor/shared_library.h"

namespace la {
namespace {

#define LA_MPI_FUNCTION(name) decltype(::name)* name = library.symbol<decltype(::name)>(#name)

/// What is used of MPI. Its constants are objects of the library.
struct Mpi {
  SharedLibrary library{"MPI", {"libmpi.so.40", "libmpi.so"}, SharedLibrary::Visibility::of_all};
  LA_MPI_FUNCTION(MPI_Init_thread);
  LA_MPI_FUNCTION(MPI_Finalize);
  LA_MPI_FUNCTION(MPI_Abort);
  LA_MPI_FUNCTION(MPI_Comm_rank);
  LA_MPI_FUNCTION(MPI_Comm_size);
  LA_MPI_FUNCTION(MPI_Comm_set_errhandler);
  LA_MPI_FUNCTION(MPI_Comm_split_type);
  LA_MPI_FUNCTION(MPI_Comm_dup);
  LA_MPI_FUNCTION(MPI_Error_string);
  LA_MPI_FUNCTION(MPI_Test);
  LA_MPI_FUNCTION(MPI_Iallreduce);
  LA_MPI_FUNCTION(MPI_Iallgatherv);
  LA_MPI_FUNCTION(MPI_Ialltoall);
  LA_MPI_FUNCTION(MPI_Ireduce_scatter_block);
  LA_MPI_FUNCTION(MPI_Ibcast);
  LA_MPI_FUNCTION(MPI_Ibarrier);
  LA_MPI_FUNCTION(MPI_Isend);
  LA_MPI_FUNCTION(MPI_Irecv);

  template <class T>
  T object(const char* name) const {
    return static_cast<T>(library.address(name));
  }
  MPI_Comm world = object<MPI_Comm>("ompi_mpi_comm_world");
  MPI_Info no_info = object<MPI_Info>("ompi_mpi_info_null");
  MPI_Errhandler errors_return = object<MPI_Errhandler>("ompi_mpi_errors_return");
  MPI_Datatype bytes = object<MPI_Datatype>("ompi_mpi_byte");
  MPI_Datatype f32 = object<MPI_Datatype>("ompi_mpi_float");
  MPI_Datatype i32 = object<MPI_Datatype>("ompi_mpi_int32_t");
  MPI_Op sum = object<MPI_Op>("ompi_mpi_op_sum");
  MPI_Op max = object<MPI_Op>("ompi_mpi_op_max");

  void check(int status, const char* doing) const {
    if (status == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(status, text, &length);
    fail("MPI: {}: {}", doing, text);
  }
};

/// Never unloaded: its threads outlive main.
const Mpi& mpi() {
  static const Mpi* const library = new Mpi;
  return *library;
}

int as_int(const char* what, size_t count) {
  la::check(count <= static_cast<size_t>(std::numeric_limits<int>::max()),
            "{}: {} bytes are more than one call of MPI can send", what, count);
  return static_cast<int>(count);
}

/// A tensor's bytes where MPI can reach them: its own, or a copy of those of a GPU.
class Reachable {
 public:
  Reachable() = default;
  explicit Reachable(const Tensor& x) : of_(x), host_(x.to(Device::cpu())) {}
  void* raw() const { return host_.raw(); }
  /// Brings back what has changed.
  void bring_back() {
    if (of_.defined() && !of_.device().is_cpu()) of_.copy_from_host(host_.raw());
  }

 private:
  Tensor of_, host_;
};

/// All that MPI reads and writes while a call is under way.
struct Buffers {
  Reachable from = {}, to = {};
  std::vector<int> counts = {}, places = {};  // in bytes
};

/// Keeps what MPI may still write to, because nobody has waited for it, until the end of the process.
void keep_for_good(Buffers buffers) {
  static auto* const kept = new std::vector<Buffers>;
  kept->push_back(std::move(buffers));
}

class MpiCollectives final : public Collectives {
 public:
  MpiCollectives() {
    int level = 0;
    mpi().check(mpi().MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level), "joining the others");
    mpi().MPI_Comm_set_errhandler(mpi().world, mpi().errors_return);
    mpi().MPI_Comm_rank(mpi().world, &rank_);
    mpi().MPI_Comm_size(mpi().world, &size_);
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    host_ = host;
    MPI_Comm neighbors{};
    mpi().check(
        mpi().MPI_Comm_split_type(mpi().world, MPI_COMM_TYPE_SHARED, rank_, mpi().no_info, &neighbors),
        "looking for the ranks of this host");
    mpi().MPI_Comm_rank(neighbors, &rank_of_host_);
    mpi().MPI_Comm_size(neighbors, &ranks_of_host_);
    for (MPI_Comm* started : {&started_gathers_, &started_all_to_alls_})
      mpi().check(mpi().MPI_Comm_dup(mpi().world, started), "making a communicator");
    hosts_ = all_gather("names of hosts", host_);
  }
  ~MpiCollectives() override { mpi().MPI_Finalize(); }

  bool can_be_recorded() const override { return false; }
  void set_timeout(double seconds) override { timeout_ = seconds; }
  std::string missing_ranks() override;
  void abort(int code) override {
    mpi().MPI_Abort(mpi().world, code);
    _exit(code);
  }

 private:
  /// A call of MPI under way.
  class Call final : public Exchange {
   public:
    Call(MpiCollectives& ranks, const char* what, Buffers buffers, MPI_Request request)
        : ranks_(ranks), what_(what), buffers_(std::move(buffers)), request_(request) {}
    ~Call() override {
      if (!done_) keep_for_good(std::move(buffers_));
    }
    bool done() override {
      if (done_) return true;
      int done = 0;
      mpi().check(mpi().MPI_Test(&request_, &done, MPI_STATUS_IGNORE), what_.c_str());
      if (done == 0) return false;
      done_ = true;
      buffers_.to.bring_back();
      buffers_ = {};
      return true;
    }
    void wait() override { ranks_.wait_for(*this, what_); }

   private:
    MpiCollectives& ranks_;
    std::string what_;
    Buffers buffers_;
    MPI_Request request_;
    bool done_ = false;
  };

  /// function(buffers, request) calls MPI.
  template <class Function>
  std::unique_ptr<Exchange> start(const char* what, Buffers buffers, Function function) {
    MPI_Request request{};
    mpi().check(function(buffers, &request), what);
    return std::make_unique<Call>(*this, what, std::move(buffers), request);
  }

  /// A rank that waits gives its core to those that work, soon by sleeping.
  void wait_for(Exchange& call, const std::string& what) {
    constexpr double busy = 20e-6, yielding = 5e-3;  // seconds
    constexpr auto nap = std::chrono::microseconds(100);
    for (const double begin = now(); !call.done();) {
      const double waited = now() - begin;
      if (waited > timeout_)
        fail("waited {:.0f} seconds for {} to exchange {}{}", waited, missing_ranks(), what, advice_);
      if (waited > yielding)
        std::this_thread::sleep_for(nap);
      else if (waited > busy)
        sched_yield();
    }
  }

  std::unique_ptr<Exchange> gather_in(MPI_Comm communicator, const char* what, const Tensor& own,
                                      const Tensor& all, std::span<const int64_t> rows) {
    Buffers buffers{.from = Reachable(own), .to = Reachable(all)};
    const size_t row_bytes = all.size(0) == 0 ? 0 : all.bytes() / static_cast<size_t>(all.size(0));
    size_t place = 0;
    for (const int64_t count : rows) {
      buffers.counts.push_back(as_int(what, static_cast<size_t>(count) * row_bytes));
      buffers.places.push_back(as_int(what, place));
      place += static_cast<size_t>(count) * row_bytes;
    }
    return start(what, std::move(buffers), [&](const Buffers& b, MPI_Request* request) {
      return mpi().MPI_Iallgatherv(b.from.raw(), b.counts[static_cast<size_t>(rank_)], mpi().bytes,
                                   b.to.raw(), b.counts.data(), b.places.data(), mpi().bytes, communicator,
                                   request);
    });
  }

  std::unique_ptr<Exchange> all_to_all_in(MPI_Comm communicator, const char* what, const Tensor& from,
                                          const Tensor& to) {
    const int part = as_int(what, from.bytes() / static_cast<size_t>(size_));
    return start(what, {.from = Reachable(from), .to = Reachable(to)},
                 [&](const Buffers& b, MPI_Request* request) {
                   return mpi().MPI_Ialltoall(b.from.raw(), part, mpi().bytes, b.to.raw(), part, mpi().bytes,
                                              communicator, request);
                 });
  }

  void do_all_gather(const char* what, const Tensor& own, const Tensor& all,
                     std::span<const int64_t> rows) override {
    gather_in(mpi().world, what, own, all, rows)->wait();
  }
  void do_all_to_all(const char* what, const Tensor& from, const Tensor& to) override {
    all_to_all_in(mpi().world, what, from, to)->wait();
  }
  std::unique_ptr<Exchange> do_start_all_gather(const char* what, const Tensor& own, const Tensor& all,
                                                std::span<const int64_t> rows) override {
    return gather_in(started_gathers_, what, own, all, rows);
  }
  std::unique_ptr<Exchange> do_start_all_to_all(const char* what, const Tensor& from,
                                                const Tensor& to) override {
    return all_to_all_in(started_all_to_alls_, what, from, to);
  }

  void do_all_reduce(const char* what, const Tensor& x, Reduction reduction) override {
    const Tensor result(x.shape(), x.dtype());
    const int count = as_int(what, static_cast<size_t>(x.numel()));
    start(what, {.from = Reachable(x), .to = Reachable(result)}, [&](const Buffers& b, MPI_Request* request) {
      return mpi().MPI_Iallreduce(b.from.raw(), b.to.raw(), count,
                                  x.dtype() == DType::f32 ? mpi().f32 : mpi().i32,
                                  reduction == Reduction::sum ? mpi().sum : mpi().max, mpi().world, request);
    })->wait();
    Tensor(x).copy_from_host(result.raw());
  }

  void do_reduce_scatter(const char* what, const Tensor& from, const Tensor& to) override {
    const int count = as_int(what, static_cast<size_t>(to.numel()));
    start(what, {.from = Reachable(from), .to = Reachable(to)}, [&](const Buffers& b, MPI_Request* request) {
      return mpi().MPI_Ireduce_scatter_block(b.from.raw(), b.to.raw(), count, mpi().f32, mpi().sum,
                                             mpi().world, request);
    })->wait();
  }

  void do_broadcast(const char* what, const Tensor& x, int root) override {
    const Reachable here(x);
    start(what, rank_ == root ? Buffers{.from = here} : Buffers{.to = here},
          [&](const Buffers&, MPI_Request* request) {
            return mpi().MPI_Ibcast(here.raw(), as_int(what, x.bytes()), mpi().bytes, root, mpi().world,
                                    request);
          })
        ->wait();
  }

  void do_barrier(const char* what) override {
    start(what, {}, [&](const Buffers&, MPI_Request* request) {
      return mpi().MPI_Ibarrier(mpi().world, request);
    })->wait();
  }

  double timeout_ = 600;  // seconds
  MPI_Comm started_gathers_{}, started_all_to_alls_{};
  std::vector<std::string> hosts_;
  std::vector<int> roll_call_;  // what others have said; MPI may write here until the end of the process
};

// Each rank that has waited too long says so to all others, and listens for a moment to what they say.
std::string MpiCollectives::missing_ranks() {
  constexpr int tag = 1;
  constexpr double moment = 2;  // seconds
  const auto ranks = static_cast<size_t>(size_);
  std::vector<MPI_Request> sent(ranks), received(ranks);
  std::vector<int> done(ranks, 0);
  roll_call_.resize(ranks);
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    const auto i = static_cast<size_t>(r);
    mpi().MPI_Isend(&rank_, 1, mpi().i32, r, tag, mpi().world, &sent[i]);
    mpi().MPI_Irecv(&roll_call_[i], 1, mpi().i32, r, tag, mpi().world, &received[i]);
  }
  std::string missing;
  for (const double begin = now(); now() - begin < moment;) {
    missing.clear();
    for (int r = 0; r < size_; ++r) {
      const auto i = static_cast<size_t>(r);
      if (r != rank_ && done[i] == 0) mpi().MPI_Test(&received[i], &done[i], MPI_STATUS_IGNORE);
      if (r != rank_ && done[i] == 0)
        missing += formatted("{}rank {} ({})", missing.empty() ? "" : ", ", r, hosts_[i]);
    }
    if (missing.empty()) return "others that were late";
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return missing;
}

}  // namespace

std::unique_ptr<Collectives> make_mpi_collectives() { return std::make_unique<MpiCollectives>(); }

}  // namespace la
