// Collectives by NCCL, which is loaded when several processes with GPUs exchange tensors: on the stream of all work, so that they
// are recorded with a step. The processes find each other by the collectives that they have already, which also carry
// tensors in host memory. In what order NCCL adds is not ours.
#include "tensor/cuda/nccl_collectives.h"

#include "tensor/cuda/library.h"
#include "tensor/cuda/runtime.h"

#if __has_include(<nccl.h>)

#include <nccl.h>

#include <cstring>
#include <exception>
#include <utility>

namespace la {
namespace {

#define LA_NCCL_FUNCTION(name) decltype(::name)* name = library.symbol<decltype(::name)>(#name)

struct Nccl {
  SharedLibrary library{"NCCL", {"libnccl.so.2", "libnccl.so"}};
  LA_NCCL_FUNCTION(ncclGetErrorString);
  LA_NCCL_FUNCTION(ncclGetUniqueId);
  LA_NCCL_FUNCTION(ncclCommInitRank);
  LA_NCCL_FUNCTION(ncclCommDestroy);
  LA_NCCL_FUNCTION(ncclCommAbort);
  LA_NCCL_FUNCTION(ncclCommGetAsyncError);
  LA_NCCL_FUNCTION(ncclAllReduce);
  LA_NCCL_FUNCTION(ncclBroadcast);
  LA_NCCL_FUNCTION(ncclReduceScatter);
  LA_NCCL_FUNCTION(ncclSend);
  LA_NCCL_FUNCTION(ncclRecv);
  LA_NCCL_FUNCTION(ncclGroupStart);
  LA_NCCL_FUNCTION(ncclGroupEnd);
};

/// Never unloaded: its threads outlive main.
const Nccl& nccl() {
  static const Nccl* const library = new Nccl;
  return *library;
}

void check_nccl(ncclResult_t status, const char* doing) {
  if (status != ncclSuccess) fail("NCCL: {}: {}", doing, nccl().ncclGetErrorString(status));
}

ncclDataType_t type_of(const Tensor& x) { return x.dtype() == DType::f32 ? ncclFloat32 : ncclInt32; }

class NcclCollectives final : public Collectives {
 public:
  explicit NcclCollectives(Collectives& processes) : processes_(processes) {
    rank_ = processes.rank();
    size_ = processes.size();
    host_ = processes.host();
    ranks_of_host_ = processes.ranks_of_host();
    rank_of_host_ = processes.rank_of_host();
    ncclUniqueId id{};
    if (rank_ == 0) check_nccl(nccl().ncclGetUniqueId(&id), "making an id");
    const std::string bytes =
        processes.broadcast("id of NCCL", std::string(id.internal, sizeof id.internal), 0);
    std::memcpy(id.internal, bytes.data(), sizeof id.internal);
    check_nccl(nccl().ncclCommInitRank(&communicator_, size_, id, rank_), "joining the others");
    cuda::watch_waiting([this](double seconds) { watch(seconds); });
  }
  ~NcclCollectives() override {
    cuda::watch_waiting({});
    if (communicator_ == nullptr) return;
    // To destroy it, all ranks must come; one that has failed does not wait for them.
    if (std::uncaught_exceptions() > 0)
      nccl().ncclCommAbort(communicator_);
    else
      nccl().ncclCommDestroy(communicator_);
  }

  bool has_own_order() const override { return true; }
  void set_timeout(double seconds) override { timeout_ = seconds; }
  std::string missing_ranks() override { return processes_.missing_ranks(); }
  void abort(int code) override { processes_.abort(code); }

 private:
  /// Called while the host waits for the GPU, which may wait for that of a rank that never comes.
  void watch(double seconds) {
    if (communicator_ == nullptr) fail("{}", problem_);  // once more, after it was given up
    ncclResult_t status = ncclSuccess;
    check_nccl(nccl().ncclCommGetAsyncError(communicator_, &status), "asking how it goes");
    const bool failed = status != ncclSuccess && status != ncclInProgress;
    if (!failed && seconds < timeout_) return;
    problem_ = failed ? formatted("NCCL: exchanging tensors: {}", nccl().ncclGetErrorString(status))
                      : formatted("waited {:.0f} seconds for the GPU to exchange tensors with {}{}", seconds,
                                  processes_.missing_ranks(), advice_);
    nccl().ncclCommAbort(std::exchange(communicator_, nullptr));
    fail("{}", problem_);
  }

  void do_all_reduce(const char* what, const Tensor& x, Reduction reduction) override {
    if (x.device().is_cpu()) return processes_.all_reduce(what, x, reduction);
    check_nccl(
        nccl().ncclAllReduce(x.raw(), x.raw(), static_cast<size_t>(x.numel()), type_of(x),
                             reduction == Reduction::sum ? ncclSum : ncclMax, communicator_, cuda::stream()),
        what);
  }

  void do_all_gather(const char* what, const Tensor& own, const Tensor& all,
                     std::span<const int64_t> rows) override {
    if (all.device().is_cpu()) return processes_.all_gather(what, own, all, rows);
    const size_t row_bytes = all.size(0) == 0 ? 0 : all.bytes() / static_cast<size_t>(all.size(0));
    auto* to = static_cast<char*>(all.raw());
    check_nccl(nccl().ncclGroupStart(), what);
    for (int r = 0; r < size_; ++r) {
      const size_t bytes = static_cast<size_t>(rows[static_cast<size_t>(r)]) * row_bytes;
      if (bytes > 0)
        check_nccl(nccl().ncclBroadcast(r == rank_ ? own.raw() : to, to, bytes, ncclUint8, r, communicator_,
                                        cuda::stream()),
                   what);
      to += bytes;
    }
    check_nccl(nccl().ncclGroupEnd(), what);
  }

  void do_all_to_all(const char* what, const Tensor& from, const Tensor& to) override {
    if (from.device().is_cpu()) return processes_.all_to_all(what, from, to);
    const size_t bytes = from.bytes() / static_cast<size_t>(size_);
    check_nccl(nccl().ncclGroupStart(), what);
    for (int r = 0; r < size_; ++r) {
      const size_t place = static_cast<size_t>(r) * bytes;
      check_nccl(nccl().ncclSend(static_cast<const char*>(from.raw()) + place, bytes, ncclUint8, r,
                                 communicator_, cuda::stream()),
                 what);
      check_nccl(nccl().ncclRecv(static_cast<char*>(to.raw()) + place, bytes, ncclUint8, r, communicator_,
                                 cuda::stream()),
                 what);
    }
    check_nccl(nccl().ncclGroupEnd(), what);
  }

  void do_reduce_scatter(const char* what, const Tensor& from, const Tensor& to) override {
    if (from.device().is_cpu()) return processes_.reduce_scatter(what, from, to);
    check_nccl(nccl().ncclReduceScatter(from.raw(), to.raw(), static_cast<size_t>(to.numel()), ncclFloat32,
                                        ncclSum, communicator_, cuda::stream()),
               what);
  }

  void do_broadcast(const char* what, const Tensor& x, int root) override {
    if (x.device().is_cpu()) return processes_.broadcast(what, x, root);
    check_nccl(
        nccl().ncclBroadcast(x.raw(), x.raw(), x.bytes(), ncclUint8, root, communicator_, cuda::stream()),
        what);
  }

  void do_barrier(const char* what) override { processes_.barrier(what); }

  Collectives& processes_;
  ncclComm_t communicator_ = nullptr;
  std::string problem_;   // for which the communicator was given up
  double timeout_ = 600;  // seconds
};

}  // namespace

std::unique_ptr<Collectives> make_nccl_collectives(Collectives& processes) {
  return std::make_unique<NcclCollectives>(processes);
}

}  // namespace la

#else

namespace la {

std::unique_ptr<Collectives> make_nccl_collectives(Collectives&) {
  fail("this program was built without NCCL; `collectives` mpi exchanges tensors through host memory");
}

}  // namespace la

#endif
