#include "tensor/allocator.h"

#include <algorithm>
#include <cassert>
#include <iterator>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace la {
namespace {

constexpr size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

MarkMemory mark_for_sanitizer() {
#ifdef __SANITIZE_ADDRESS__
  return [](void* bytes, size_t count, bool usable) {
    usable ? __asan_unpoison_memory_region(bytes, count) : __asan_poison_memory_region(bytes, count);
  };
#else
  return {};
#endif
}

CachingAllocator::CachingAllocator(Allocate allocate, Release release, MarkMemory mark)
    : allocate_(std::move(allocate)), release_(std::move(release)), mark_(std::move(mark)) {}

CachingAllocator::~CachingAllocator() { release_cache(); }

size_t CachingAllocator::block_size(size_t bytes) const {
  const size_t beyond = mark_ ? 64 : 0;  // what is marked as not to be used behind each block
  return round_up(std::max<size_t>(bytes + beyond, 1), alignment);
}

void* CachingAllocator::allocate(size_t bytes) {
  const size_t size = block_size(bytes);
  std::lock_guard lock(mutex_);
  auto best = find_free(open_, size);
  if (best == free_.end() && open_ != nullptr) best = find_free(nullptr, size);
  if (best == free_.end()) best = add_segment(size);

  const auto chunk = chunks_.find(best->begin);
  if (chunk->second.size > size) {
    Chunk rest{.size = chunk->second.size - size,
               .owner = chunk->second.owner,
               .entry = FreeSet{FreeKey{}}.extract(FreeKey{})};
    const auto placed = chunks_.emplace(chunk->first + size, std::move(rest)).first;
    chunk->second.entry = free_.extract(best);
    chunk->second.size = size;
    set_free(placed);
  } else {
    chunk->second.entry = free_.extract(best);
  }
  if (open_ != nullptr) chunk->second.owner = open_;
  stats_.in_use += size;
  stats_.peak = std::max(stats_.peak, stats_.in_use);
  if (mark_) mark_(chunk->first, bytes, true);
  return chunk->first;
}

void CachingAllocator::deallocate(void* block) noexcept {
  std::lock_guard lock(mutex_);
  const auto chunk = chunks_.find(static_cast<char*>(block));
  assert(chunk != chunks_.end() && !chunk->second.is_free());
  stats_.in_use -= chunk->second.size;
  const bool may_be_used = chunk->second.owner != nullptr;  // by recorded work, when it runs again
  if (mark_ && !may_be_used) mark_(block, chunk->second.size, false);
  set_free(chunk);
}

/// The smallest free chunk of an owner that has the size; of equal ones the first.
CachingAllocator::FreeSet::iterator CachingAllocator::find_free(const Reservation* owner, size_t size) const {
  const auto found = free_.lower_bound({owner, size, nullptr});
  return found != free_.end() && found->owner == owner ? found : free_.end();
}

CachingAllocator::FreeSet::iterator CachingAllocator::add_segment(size_t size) {
  const size_t bytes = round_up(std::max(size, segment_size), page_size);
  void* segment = nullptr;
  try {
    segment = allocate_(bytes);
  } catch (const Error&) {
    release_segments();
    segment = allocate_(bytes);
  }
  stats_.reserved += bytes;
  ++stats_.system_requests;
  if (mark_) mark_(segment, bytes, false);
  char* const begin = static_cast<char*>(segment);
  chunks_.emplace(begin, Chunk{.size = bytes, .first = true});
  return free_.insert({nullptr, bytes, begin}).first;
}

/// Makes a chunk free that is not, and joins it with its free neighbors.
void CachingAllocator::set_free(Chunks::iterator chunk) {
  FreeSet::node_type entry = std::move(chunk->second.entry);
  const auto join_with_next = [&](Chunks::iterator left) {
    const auto right = std::next(left);
    if (right == chunks_.end() || right->second.first || !left->second.is_free() ||
        !right->second.is_free() || left->second.owner != right->second.owner)
      return false;
    for (const auto& part : {left, right})
      free_.erase({part->second.owner, part->second.size, part->first});  // but for that which becomes free
    left->second.size += right->second.size;
    chunks_.erase(right);
    return true;
  };
  join_with_next(chunk);
  if (!chunk->second.first)
    if (const auto previous = std::prev(chunk); join_with_next(previous)) chunk = previous;
  entry.value() = {chunk->second.owner, chunk->second.size, chunk->first};
  free_.insert(std::move(entry));
}

void CachingAllocator::release_cache() {
  std::lock_guard lock(mutex_);
  release_segments();
}

void CachingAllocator::release_segments() {
  for (auto chunk = chunks_.begin(); chunk != chunks_.end();) {
    const auto next = std::next(chunk);
    const auto& [begin, part] = *chunk;
    if (part.first && part.is_free() && part.owner == nullptr &&
        (next == chunks_.end() || next->second.first)) {
      if (mark_) mark_(begin, part.size, true);
      release_(begin, part.size);
      stats_.reserved -= part.size;
      free_.erase({nullptr, part.size, begin});
      chunks_.erase(chunk);
    }
    chunk = next;
  }
}

MemoryStats CachingAllocator::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

Reservation::Reservation(CachingAllocator& allocator) : allocator_(allocator) {
  std::lock_guard lock(allocator_.mutex_);
  check(allocator_.open_ == nullptr, "memory is being reserved already");
  allocator_.open_ = this;
}

void Reservation::close() {
  std::lock_guard lock(allocator_.mutex_);
  if (allocator_.open_ == this) allocator_.open_ = nullptr;
}

Reservation::~Reservation() {
  close();
  std::lock_guard lock(allocator_.mutex_);
  for (auto& [begin, chunk] : allocator_.chunks_)
    if (chunk.owner == this && !chunk.is_free()) chunk.owner = nullptr;
  for (auto entry = allocator_.find_free(this, 0); entry != allocator_.free_.end();
       entry = allocator_.find_free(this, 0)) {
    const auto chunk = allocator_.chunks_.find(entry->begin);
    chunk->second.entry = allocator_.free_.extract(entry);
    chunk->second.owner = nullptr;
    if (allocator_.mark_) allocator_.mark_(chunk->first, chunk->second.size, false);
    allocator_.set_free(chunk);
  }
}

}  // namespace la
