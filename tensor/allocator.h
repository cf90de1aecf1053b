// A caching allocator: memory is taken from the system in large segments, from which blocks are cut; freed
// blocks are joined with free neighbors and handed out again, so that a training step, which repeats the same
// sizes, asks the system for no memory after the first. One per device; safe to use from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "tensor/device.h"

namespace la {

struct MemoryStats {
  size_t in_use = 0;            // bytes handed out now
  size_t peak = 0;              // the most bytes handed out at one time
  size_t reserved = 0;          // bytes taken from the system, handed out or cached
  int64_t system_requests = 0;  // how often the system was asked for memory
};

class Reservation;

/// Told which bytes may be used and which not, for tools that find wrong accesses.
using MarkMemory = std::function<void(void* bytes, size_t count, bool usable)>;
/// Tells AddressSanitizer about memory of the host; empty in a build without it.
MarkMemory mark_for_sanitizer();

class CachingAllocator {
 public:
  using Allocate = std::function<void*(size_t bytes)>;  // throws an Error when there is no memory
  using Release = std::function<void(void* segment, size_t bytes)>;

  static constexpr size_t segment_size = size_t{64} << 20;  // the least that is asked for
  static constexpr size_t page_size = size_t{2} << 20;      // of which segments are multiples
  // Of a block from the beginning of its segment: what the widest accesses of any device want.
  static constexpr size_t alignment = 512;

  CachingAllocator(Allocate allocate, Release release, MarkMemory mark = {});
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// A block of at least `bytes` bytes; never null, also for 0 bytes. The contents are undefined. Where the
  /// system has no memory, the cache is given back to it, and it is asked once more.
  void* allocate(size_t bytes);
  /// Takes back a block that allocate gave.
  void deallocate(void* block) noexcept;
  /// Gives back to the system every segment of which nothing is in use or reserved.
  void release_cache();

  MemoryStats stats() const;

  /// The size of the block that serves a request: the next multiple of `alignment`.
  size_t block_size(size_t bytes) const;

 private:
  friend class Reservation;

  // A stretch of a segment, in use or free. Free ones are also in free_, ordered by whose they are and by
  // size; the entry of one in use is kept aside, so that freeing needs no memory.
  struct FreeKey {
    const Reservation* owner;
    size_t size;
    char* begin;
    auto operator<=>(const FreeKey&) const = default;
  };
  using FreeSet = std::set<FreeKey>;
  struct Chunk {
    size_t size;
    const Reservation* owner = nullptr;  // the reservation that has it, if any
    bool first = false;                  // of its segment
    FreeSet::node_type entry = {};
    bool is_free() const { return entry.empty(); }
  };
  using Chunks = std::map<char*, Chunk>;  // by address

  FreeSet::iterator find_free(const Reservation* owner, size_t size) const;
  FreeSet::iterator add_segment(size_t size);
  void set_free(Chunks::iterator chunk);
  void release_segments();

  Allocate allocate_;
  Release release_;
  MarkMemory mark_;
  mutable std::mutex mutex_;
  Chunks chunks_;
  FreeSet free_;
  const Reservation* open_ = nullptr;  // whose are the blocks that are handed out
  MemoryStats stats_;
};

/// The memory of work that is recorded, to run again and again (captured_step.h): all blocks that are handed
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
