// Blocks of threads as fibers. The fibers of a warp run until all of them wait for the block or are done;
// what they wait for within the warp is resolved on the way. At a barrier of its own a block makes way for
// the next.
#undef _FORTIFY_SOURCE  // its longjmp forbids jumps to another stack
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tensor/cuda/emulated/cuda.h"
#include "tensor/error.h"

namespace la::cuda::emulated {
namespace {

constexpr int lanes = 32;
constexpr size_t stack_bytes = 256 << 10;  // sanitizers make frames large; untouched pages cost nothing
constexpr int poison = 0xff;
constexpr size_t shared_capacity = 227 << 10;  // of a block on compute capability 9.0

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool reversed() {
  static const std::string order = environment("LA_EMULATED_ORDER");
  check(order.empty() || order == "forward" || order == "reverse",
        "LA_EMULATED_ORDER is \"{}\", expected forward or reverse", order);
  return order == "reverse";
}

/// Whether the environment asks to leave out the barrier at "file:line", the file as seen from the root.
bool skipped(const Site& site) {
  static const std::string skip = environment("LA_SKIP_BARRIER"), list = environment("LA_LIST_BARRIERS");
  if (skip.empty() && list.empty()) return false;
  std::string name = formatted("{}:{}", site.file, site.line);
  if (name.starts_with("./")) name.erase(0, 2);  // a header's, by way of -I.
  static std::set<std::string> met;
  if (!list.empty() && met.insert(name).second) {
    std::FILE* file = std::fopen(list.c_str(), "a");
    check(file != nullptr, "cannot write {}", list);
    print(file, "{}\n", name);
    std::fclose(file);
  }
  return name == skip;
}

enum class State { ready, at_warp, at_block, done };

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

/// A place to go on from. A fiber begins with ucontext, which gives it its stack; after that, jumps do, which
/// unlike ucontext's switches make no call to the system. (AddressSanitizer knows ucontext's alone.)
class Place {
 public:
  void begin_at(void* stack, size_t bytes, void (*function)()) {
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, function, 0);
  }
  /// Goes on at the other one, until somebody leaves for this one.
  void leave_for(Place& other) {
#ifdef __SANITIZE_ADDRESS__
    swapcontext(&context_, &other.context_);
#else
    if (_setjmp(jump_) != 0) return;
    can_jump_ = true;
    other.can_jump_ ? _longjmp(other.jump_, 1) : (void)setcontext(&other.context_);
#endif
  }

 private:
  ucontext_t context_;
  jmp_buf jump_;
  bool can_jump_ = false;
};

struct Fiber {
  Place place;
  std::vector<Copy> copies;  // started, not finished
  State state = State::done;
  const char* operation = nullptr;  // that it waits for within the warp
  unsigned mask = 0;
  const void* value = nullptr;
  size_t bytes = 0;
};

struct Warp {
  alignas(16) std::byte exchanged[lanes][most_exchanged_bytes];
};

class Block;
Block* current_block = nullptr;

class Block {
 public:
  void start(const Shape& shape, dim3 index, const std::function<void()>& kernel) {
    check(shape.threads >= 1 && shape.threads <= 1024, "a block of {} threads, expected 1 to 1024",
          shape.threads);
    kernel_ = &kernel;
    threads_ = shape.threads;
    grid_ = shape.blocks;
    index_ = index;
    warps_.resize(static_cast<size_t>((threads_ + lanes - 1) / lanes));
    while (fibers_.size() < static_cast<size_t>(threads_)) add_fiber();
    for (int t = 0; t < threads_; ++t) fibers_[static_cast<size_t>(t)].state = State::ready;
    shared_.resize(shared_capacity);
    std::memset(shared_.data(), poison, std::max(used_shared_, shape.shared_bytes));
    objects_.clear();
    used_shared_ = (shape.shared_bytes + 15) / 16 * 16;
    check(used_shared_ <= shared_capacity, "a block uses {} bytes of shared memory, more than there are",
          used_shared_);
  }
  /// Runs all threads until they wait for one another; false if they are done.
  bool advance() {
    current_block = this;
    blockDim = dim3(static_cast<unsigned>(threads_));
    gridDim = grid_;
    blockIdx = index_;
    const int warps = (threads_ + lanes - 1) / lanes;
    for (int w = 0; w < warps; ++w) run_warp(reversed() ? warps - 1 - w : w);
    return release_block();
  }

  void wait(State state) {
    Fiber& self = fibers_[static_cast<size_t>(current_)];
    self.state = state;
    self.place.leave_for(scheduler_);
  }
  void wait_for_warp(const char* operation, unsigned mask, const void* value, size_t bytes) {
    check(bytes <= most_exchanged_bytes, "{}: {} bytes", operation, bytes);
    Fiber& self = fibers_[static_cast<size_t>(current_)];
    check(mask >> (current_ % lanes) & 1u, "{}: lane {} is not in its own mask {:#x}", operation,
          current_ % lanes, mask);
    self.operation = operation;
    self.mask = mask;
    self.value = value;
    self.bytes = bytes;
    wait(State::at_warp);
  }
  void start_copy(const Copy& copy) {
    std::memset(copy.to, poison, copy.bytes);
    fibers_[static_cast<size_t>(current_)].copies.push_back(copy);
  }
  void finish_copies() {
    auto& copies = fibers_[static_cast<size_t>(current_)].copies;
    for (const Copy& copy : copies) std::memcpy(copy.to, copy.from, copy.bytes);
    copies.clear();
  }
  const std::byte* exchanged() const { return warps_[static_cast<size_t>(current_ / lanes)].exchanged[0]; }

  void* shared_object(const void* type, size_t bytes) {
    const auto [found, is_new] = objects_.try_emplace(type, used_shared_);
    if (is_new) {
      used_shared_ += (bytes + 15) / 16 * 16;
      check(used_shared_ <= shared_.size(), "a block uses {} bytes of shared memory, more than there are",
            used_shared_);
    }
    return shared_.data() + found->second;
  }
  void* dynamic_shared() { return shared_.data(); }

 private:
  void add_fiber() {
    void* stack = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(stack != MAP_FAILED, "no memory for the stack of a fiber");
    fibers_.emplace_back().place.begin_at(stack, stack_bytes, &Block::live);
  }

  /// A fiber runs one thread after the other: that of the block under way, then that of the next.
  static void live();

  void run_warp(int warp) {
    const int first = warp * lanes, count = std::min(threads_ - first, lanes);
    do {
      for (int i = 0; i < count; ++i) {
        const int t = first + (reversed() ? count - 1 - i : i);
        if (fibers_[static_cast<size_t>(t)].state == State::ready) resume(t);
      }
    } while (release_warp(first, count));
  }

  void resume(int thread) {
    current_ = thread;
    threadIdx = dim3(static_cast<unsigned>(thread), 0, 0);
    scheduler_.leave_for(fibers_[static_cast<size_t>(thread)].place);
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  /// Lets those lanes go on that have all met; false if there are none.
  bool release_warp(int first, int count) {
    bool released = false;
    for (int i = 0; i < count; ++i) {
      const Fiber& waiting = fibers_[static_cast<size_t>(first + i)];
      if (waiting.state != State::at_warp || !all_met(waiting, first, count)) continue;
      const unsigned mask = waiting.mask;
      std::byte(*slots)[most_exchanged_bytes] = warps_[static_cast<size_t>(first / lanes)].exchanged;
      for (int lane = 0; lane < count; ++lane) {
        if (!(mask >> lane & 1u)) continue;
        Fiber& fiber = fibers_[static_cast<size_t>(first + lane)];
        if (fiber.bytes > 0) std::memcpy(slots[lane], fiber.value, fiber.bytes);
        fiber.state = State::ready;
      }
      released = true;
    }
    return released;
  }

  bool all_met(const Fiber& one, int first, int count) const {
    for (int lane = 0; lane < lanes; ++lane) {
      if (!(one.mask >> lane & 1u)) continue;
      check(lane < count, "{}: lane {} of the mask {:#x} is not in the block of {} threads", one.operation,
            lane, one.mask, threads_);
      const Fiber& other = fibers_[static_cast<size_t>(first + lane)];
      check(other.state != State::done, "{}: lane {} of the mask {:#x} has ended", one.operation, lane,
            one.mask);
      if (other.state != State::at_warp) return false;
      check(std::string_view(other.operation) == one.operation && other.mask == one.mask,
            "lanes of a warp meet in {} ({:#x}) and {} ({:#x})", one.operation, one.mask, other.operation,
            other.mask);
    }
    return true;
  }

  /// Lets the block go on past a barrier; false if it is done.
  bool release_block() {
    int at_block = 0, done = 0;
    for (int t = 0; t < threads_; ++t) {
      at_block += fibers_[static_cast<size_t>(t)].state == State::at_block;
      done += fibers_[static_cast<size_t>(t)].state == State::done;
    }
    if (done == threads_) return false;
    check(at_block == threads_, "{} threads of a block wait at a barrier, {} have ended, {} wait in a warp",
          at_block, done, threads_ - at_block - done);
    for (int t = 0; t < threads_; ++t) fibers_[static_cast<size_t>(t)].state = State::ready;
    return true;
  }

  const std::function<void()>* kernel_ = nullptr;
  dim3 grid_, index_;
  int threads_ = 0, current_ = 0;
  Place scheduler_;
  std::vector<Fiber> fibers_ = [] {
    std::vector<Fiber> fibers;
    fibers.reserve(1024);  // places must not move
    return fibers;
  }();
  std::vector<Warp> warps_;
  std::vector<std::byte> shared_;
  size_t used_shared_ = 0;
  std::map<const void*, size_t> objects_;  // where each type's object lies
  std::exception_ptr failure_;
};

void Block::live() {
  while (true) {
    Block& self = *current_block;
    try {
      (*self.kernel_)();
      check(self.fibers_[static_cast<size_t>(self.current_)].copies.empty(),
            "thread {} has ended with copies that it did not wait for", self.current_);
    } catch (...) {
      self.failure_ = std::current_exception();
    }
    self.wait(State::done);
  }
}

}  // namespace

namespace {

/// How many blocks are under way at a time.
size_t side_by_side() {
  static const std::string text = environment("LA_EMULATED_BLOCKS");
  const int count = text.empty() ? 1 : std::atoi(text.c_str());
  check(count > 0, "LA_EMULATED_BLOCKS is \"{}\", expected a number from 1 on", text);
  return static_cast<size_t>(count);
}

std::vector<std::unique_ptr<Block>>& idle_blocks() {
  static std::vector<std::unique_ptr<Block>> blocks;
  return blocks;
}

std::unique_ptr<Block> take_block() {
  if (idle_blocks().empty()) return std::make_unique<Block>();
  auto block = std::move(idle_blocks().back());
  idle_blocks().pop_back();
  return block;
}

void run(const char* name, const Shape& shape, const std::function<void()>& kernel) {
  std::vector<std::unique_ptr<Block>> active;
  try {
    const uint64_t blocks = uint64_t{shape.blocks.x} * shape.blocks.y * shape.blocks.z;
    check(shape.blocks.y <= 65535 && shape.blocks.z <= 65535, "{} by {} blocks, expected at most 65535",
          shape.blocks.y, shape.blocks.z);
    for (uint64_t next = 0; next < blocks || !active.empty();) {
      for (; next < blocks && active.size() < side_by_side(); ++next) {
        const uint64_t b = reversed() ? blocks - 1 - next : next, row = b / shape.blocks.x;
        active.push_back(take_block());
        active.back()->start(
            shape,
            dim3(static_cast<unsigned>(b % shape.blocks.x), static_cast<unsigned>(row % shape.blocks.y),
                 static_cast<unsigned>(row / shape.blocks.y)),
            kernel);
      }
      for (auto& block : active)
        if (!block->advance()) idle_blocks().push_back(std::move(block));
      std::erase(active, nullptr);
    }
  } catch (const std::exception& error) {
    // They have fibers in the middle of their work, which cannot be used again.
    for (auto& block : active) (void)block.release();
    fail("kernel {}: {}", name, error.what());
  }
}

}  // namespace

void launch(const char* name, const Shape& shape, const std::function<void()>& kernel) {
  enqueue([=] { run(name, shape, kernel); });
}

void* shared_object(const void* type, size_t bytes) { return current_block->shared_object(type, bytes); }
void* dynamic_shared() { return current_block->dynamic_shared(); }

void start_copy(void* to, const void* from, size_t bytes) { current_block->start_copy({to, from, bytes}); }
void finish_copies() { current_block->finish_copies(); }

void block_barrier(const Site& site) {
  if (!skipped(site)) current_block->wait(State::at_block);
}
void warp_barrier(const Site& site, unsigned mask) {
  if (!skipped(site)) current_block->wait_for_warp("syncwarp", mask, nullptr, 0);
}
const std::byte* exchange(const char* operation, unsigned mask, const void* value, size_t bytes) {
  current_block->wait_for_warp(operation, mask, value, bytes);
  return current_block->exchanged();
}

}  // namespace la::cuda::emulated
