// A caching allocator: freed blocks are kept in lists by size and handed out again, so that a training step,
// which repeats the same sizes, asks the system for no memory after the first. One per device; safe to use
// from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "tensor/device.h"

namespace la {

struct MemoryStats {
  size_t in_use = 0;            // bytes handed out now
  size_t peak = 0;              // the most bytes handed out at one time
  size_t reserved = 0;          // bytes taken from the system, handed out or cached
  int64_t system_requests = 0;  // how often the system was asked for memory
};

class Reservation;

class CachingAllocator {
 public:
  using Allocate = std::function<void*(size_t bytes)>;  // throws an Error when there is no memory
  using Release = std::function<void(void* block, size_t bytes)>;

  CachingAllocator(Allocate allocate, Release release);
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// A block of at least `bytes` bytes; never null, also for 0 bytes. The contents are undefined.
  void* allocate(size_t bytes);
  /// Takes back a block that allocate(bytes) gave.
  void deallocate(void* block, size_t bytes);
  /// Gives every cached block back to the system.
  void release_cache();

  MemoryStats stats() const;

  /// The size of the block that serves a request: a multiple of 64, at most an eighth larger than asked for.
  static size_t block_size(size_t bytes);

 private:
  friend class Reservation;
  struct Reserved {
    const Reservation* owner;
    size_t size;
    bool in_use;
  };

  Allocate allocate_;
  Release release_;
  mutable std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  std::unordered_map<void*, Reserved> reserved_;
  const Reservation* open_ = nullptr;  // to which blocks are added that are handed out
  MemoryStats stats_;
};

/// The memory of work that is recorded, to run again and again (repeated_work.h): all blocks that are handed
/// out between its construction and close(). They are nobody else's from close() to its destruction, although
/// the work has freed most of them.
class Reservation {
 public:
  explicit Reservation(CachingAllocator& allocator);
  ~Reservation();
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  void close();

 private:
  CachingAllocator& allocator_;
};

/// What the tensors of a device use.
MemoryStats memory_stats(Device device);

}  // namespace la
