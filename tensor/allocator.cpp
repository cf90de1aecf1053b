#include "tensor/allocator.h"

#include <algorithm>
#include <bit>

namespace la {

CachingAllocator::CachingAllocator(Allocate allocate, Release release)
    : allocate_(std::move(allocate)), release_(std::move(release)) {}

CachingAllocator::~CachingAllocator() { release_cache(); }

size_t CachingAllocator::block_size(size_t bytes) {
  constexpr size_t line = 64;
  const size_t step = std::max(line, std::bit_floor(std::max(bytes, line)) / 8);
  return (std::max(bytes, line) + step - 1) / step * step;
}

void* CachingAllocator::allocate(size_t bytes) {
  const size_t size = block_size(bytes);
  std::lock_guard lock(mutex_);
  void* block = nullptr;
  if (auto& blocks = free_[size]; !blocks.empty()) {
    block = blocks.back();
    blocks.pop_back();
  } else {
    block = allocate_(size);
    blocks.reserve(blocks.capacity() + 1);  // so that deallocate, which may run in a destructor, cannot throw
    stats_.reserved += size;
    ++stats_.system_requests;
  }
  if (open_ != nullptr) reserved_[block] = {open_, size, true};
  stats_.in_use += size;
  stats_.peak = std::max(stats_.peak, stats_.in_use);
  return block;
}

void CachingAllocator::deallocate(void* block, size_t bytes) {
  const size_t size = block_size(bytes);
  std::lock_guard lock(mutex_);
  stats_.in_use -= size;
  if (const auto found = reserved_.find(block); found != reserved_.end()) {
    found->second.in_use = false;
    if (found->second.owner != open_) return;
  }
  free_[size].push_back(block);
}

void CachingAllocator::release_cache() {
  std::lock_guard lock(mutex_);
  for (auto& [size, blocks] : free_) {
    for (void* block : blocks) release_(block, size);
    stats_.reserved -= size * blocks.size();
    blocks.clear();
    blocks.shrink_to_fit();
  }
}

Reservation::Reservation(CachingAllocator& allocator) : allocator_(allocator) {
  std::lock_guard lock(allocator_.mutex_);
  check(allocator_.open_ == nullptr, "memory is being reserved already");
  allocator_.open_ = this;
}

void Reservation::close() {
  std::lock_guard lock(allocator_.mutex_);
  if (allocator_.open_ != this) return;
  allocator_.open_ = nullptr;
  for (auto& [size, blocks] : allocator_.free_)
    std::erase_if(blocks, [&](void* block) { return allocator_.reserved_.contains(block); });
}

Reservation::~Reservation() {
  close();
  std::lock_guard lock(allocator_.mutex_);
  std::erase_if(allocator_.reserved_, [&](const auto& entry) {
    const auto& [block, reserved] = entry;
    if (reserved.owner != this) return false;
    if (!reserved.in_use) allocator_.free_[reserved.size].push_back(block);
    return true;
  });
}

MemoryStats CachingAllocator::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace la
