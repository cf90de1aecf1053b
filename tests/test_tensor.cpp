// Tensor, Shape, bf16, the caching allocator and Philox.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <thread>

#include "tensor/allocator.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/reference.h"

using namespace la;

namespace {

Tensor counting(Shape shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from(values, shape);
}

}  // namespace

TEST_CASE("shape: extents, elements, text") {
  const Shape shape{2, 3, 4};
  CHECK(shape.rank() == 3);
  CHECK(shape.numel() == 24);
  CHECK(shape[0] == 2);
  CHECK(shape[-1] == 4);
  CHECK(shape.str() == "[2, 3, 4]");
  CHECK(shape == Shape{2, 3, 4});
  CHECK(shape != Shape{2, 3});
  CHECK(shape != Shape{2, 4, 3});
  CHECK(Shape().numel() == 1);
  CHECK(Shape{5, 0, 3}.numel() == 0);
  CHECK_THROWS_WITH_AS((Shape{2, -3}), doctest::Contains("-3"), Error);
  CHECK_THROWS_WITH_AS((Shape{1, 1, 1, 1, 1, 1, 1}), doctest::Contains("at most 6"), Error);
}

TEST_CASE("tensor: a copy of the handle shares the array") {
  const Tensor a = counting({2, 3});
  Tensor b = a;
  CHECK_FALSE(a.unique());
  b.data<float>()[4] = 40;
  CHECK(a.to_vector<float>() == std::vector<float>{0, 1, 2, 3, 40, 5});
  b = Tensor();
  CHECK(a.unique());
  CHECK_FALSE(b.defined());
  CHECK(a.bytes() == 24);
  CHECK(a.device() == Device::cpu());
  CHECK(a.to(Device::cpu()).raw() == a.raw());
}

TEST_CASE("tensor: reshape and rows are views of the same array") {
  const Tensor a = counting({4, 6});
  CHECK(a.reshape({-1}).shape() == Shape{24});
  CHECK(a.reshape({2, -1, 3}).shape() == Shape{2, 4, 3});
  CHECK(a.reshape(Shape{24, 1}).raw() == a.raw());
  CHECK_THROWS_WITH_AS(a.reshape({5, -1}), doctest::Contains("[4, 6]"), Error);
  CHECK_THROWS_WITH_AS(a.reshape({4, 5}), doctest::Contains("[4, 5]"), Error);
  CHECK_THROWS_AS(a.reshape({-1, -1}), Error);
  CHECK_THROWS_AS(a.reshape({-1, 0}), Error);

  const Tensor middle = a.rows(1, 3);
  CHECK(middle.shape() == Shape{2, 6});
  CHECK(middle.to_vector<float>()[0] == 6);
  CHECK(middle.rows(1, 2).reshape({3, 2}).to_vector<float>() == std::vector<float>{12, 13, 14, 15, 16, 17});
  ops::fill(middle, -1);
  CHECK(a.to_vector<float>()[5] == 5);
  CHECK(a.to_vector<float>()[6] == -1);
  CHECK(a.to_vector<float>()[17] == -1);
  CHECK(a.to_vector<float>()[18] == 18);
  CHECK(a.rows(4, 4).numel() == 0);
  for (const auto& [begin, end] : {std::pair(-1, 2), {2, 1}, {0, 5}})
    CHECK_THROWS_WITH_AS(a.rows(begin, end), doctest::Contains("[4, 6]"), Error);
}

TEST_CASE("tensor: values in and out") {
  CHECK(Tensor::full({2, 2}, 1.5f, DType::f32).to_vector<float>() == std::vector<float>(4, 1.5f));
  CHECK(Tensor::zeros({3}, DType::i64).to_vector<int64_t>() == std::vector<int64_t>(3, 0));
  CHECK(Tensor::full({1}, 2.5f).item() == 2.5f);
  CHECK(Tensor({0, 4}).to_vector<float>().empty());
  CHECK_THROWS_WITH_AS(Tensor::full({2}, 1).item(), doctest::Contains("[2]"), Error);
  CHECK_THROWS_WITH_AS(counting({2}).data<int32_t>(), doctest::Contains("f32"), Error);
  CHECK_THROWS_WITH_AS(counting({2}).to_vector<bf16>(), doctest::Contains("bf16"), Error);
  CHECK_THROWS_WITH_AS(Tensor::from(std::vector<float>(5), {2, 3}), doctest::Contains("5 values"), Error);
  CHECK_THROWS_AS(Tensor().raw(), Error);
  CHECK_THROWS_AS(Tensor().device(), Error);
  CHECK_THROWS_WITH_AS(Tensor({1}, DType::f32, Device::cuda(1000)), doctest::Contains("cuda:1000"), Error);
}

TEST_CASE("guarded tensors lie between margins and start full of 0xff") {
  const auto inside = [] {
    const GuardedTensors guard;
    return Tensor({3}, DType::u8);
  }();
  const uint8_t* bytes = inside.data<uint8_t>();
  for (size_t i = 0; i < 2 * GuardedTensors::margin + 3; ++i)
    CHECK(*(bytes + i - GuardedTensors::margin) == 0xff);
}

TEST_CASE("bf16: every pattern survives the way to f32 and back; a NaN stays one") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    bf16 x;
    x.bits = static_cast<uint16_t>(bits);
    const auto wide = static_cast<float>(x);
    if (std::isnan(wide))
      REQUIRE(std::isnan(static_cast<float>(bf16(wide))));
    else
      REQUIRE(bf16(wide).bits == bits);
  }
}

TEST_CASE("bf16: rounds to the nearest, ties to even") {
  const auto rounded = [](uint32_t bits) { return bf16(std::bit_cast<float>(bits)).bits; };
  // Each number between neighboring patterns, of which the lower is even in the first and odd in the second.
  for (const uint32_t lower :
       {0x3f80u, 0x3f81u, 0x0000u, 0x0001u, 0x7f7eu, 0xbf80u, 0xbf81u, 0x4049u, 0x3fffu}) {
    CAPTURE(lower);
    const uint32_t even = lower % 2 == 0 ? lower : lower + 1;
    CHECK(rounded(lower << 16 | 0x0001) == lower);
    CHECK(rounded(lower << 16 | 0x7fff) == lower);
    CHECK(rounded(lower << 16 | 0x8000) == even);
    CHECK(rounded(lower << 16 | 0x8001) == lower + 1);
    CHECK(rounded(lower << 16 | 0xffff) == lower + 1);
  }
  CHECK(rounded(0x7f7fffff) == 0x7f80);  // the largest f32 rounds to infinity
  CHECK(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0x7f800001u)))));  // a NaN of low bits alone
  CHECK(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0xffffffffu)))));
}

namespace {

/// Hands out memory of this process, and counts.
struct TestSystem {
  int held = 0, most = 1000;

  CachingAllocator allocator{[this](size_t bytes) {
                               check(held < most, "no memory");
                               ++held;
                               return ::operator new(bytes);
                             },
                             [this](void* segment, size_t) {
                               --held;
                               ::operator delete(segment);
                             }};
  char* allocate(size_t bytes) { return static_cast<char*>(allocator.allocate(bytes)); }
};

constexpr size_t segment = CachingAllocator::segment_size, unit = CachingAllocator::alignment;

}  // namespace

TEST_CASE("allocator: sizes, reuse, statistics") {
  TestSystem system;
  for (size_t bytes : {0, 1, 511, 512, 513, 1000, (1 << 20) + 1}) {
    CAPTURE(bytes);
    const size_t block = system.allocator.block_size(bytes);
    CHECK(block % unit == 0);
    CHECK(block >= std::max<size_t>(bytes, 1));
    CHECK(block < std::max<size_t>(bytes, 1) + unit);
  }

  char* a = system.allocate(1000);
  char* b = system.allocate(1000);
  CHECK(b == a + 2 * unit);  // of one segment
  CHECK(system.held == 1);
  CHECK(system.allocator.stats().in_use == 4 * unit);
  CHECK(system.allocator.stats().reserved == segment);
  system.allocator.deallocate(a);
  CHECK(system.allocator.stats().in_use == 2 * unit);
  CHECK(system.allocate(10) == a);  // the smallest place where it fits
  CHECK(system.allocate(unit) == a + unit);
  system.allocator.deallocate(a);
  system.allocator.deallocate(a + unit);
  CHECK(system.allocate(1000) == a);  // both parts in one again
  CHECK(system.allocator.stats().peak == 4 * unit);

  char* large = system.allocate(segment + 1);  // has a segment of its own
  CHECK(system.held == 2);
  CHECK(system.allocator.stats().reserved == 2 * segment + CachingAllocator::page_size);
  CHECK(system.allocator.stats().system_requests == 2);
  system.allocator.deallocate(large);
  CHECK(system.allocate(segment) == large);
  system.allocator.deallocate(large);
  system.allocator.release_cache();
  CHECK(system.held == 1);  // a and b are in the other
  CHECK(system.allocator.stats().reserved == segment);
  system.allocator.deallocate(a);
  system.allocator.deallocate(b);
  CHECK(system.allocator.stats().in_use == 0);
  CHECK(system.allocate(segment) == a);  // all of it is one piece again
  system.allocator.deallocate(a);
  system.allocator.release_cache();
  CHECK(system.held == 0);
  CHECK(system.allocator.stats().reserved == 0);
}

TEST_CASE("allocator: what is cached is given back before memory is found to be short") {
  TestSystem system;
  system.most = 1;
  system.allocator.deallocate(system.allocate(10));
  char* large = system.allocate(2 * segment);
  CHECK(system.held == 1);
  CHECK(system.allocator.stats().reserved == 2 * segment);
  CHECK_THROWS_AS(system.allocate(10), Error);
  system.allocator.deallocate(large);
  system.allocator.deallocate(system.allocate(10));
}

TEST_CASE("allocator: blocks of random sizes never overlap, and all come together in the end") {
  TestSystem system;
  RandomGenerator random({.seed = 1});
  std::map<char*, size_t> blocks;
  std::unique_ptr<Reservation> reservation;
  for (int i = 0; i < 20000; ++i) {
    if (i % 3000 == 1000) reservation = std::make_unique<Reservation>(system.allocator);
    if (i % 3000 == 1500) reservation->close();
    if (i % 3000 == 2500) reservation.reset();
    if (random.below(2) == 0 || blocks.empty()) {
      const size_t bytes = size_t{1} << random.below(23);
      char* block = system.allocate(bytes);
      const auto next = blocks.lower_bound(block);
      REQUIRE((next == blocks.end() || block + bytes <= next->first));
      REQUIRE((next == blocks.begin() || std::prev(next)->first + std::prev(next)->second <= block));
      blocks[block] = bytes;
    } else {
      const auto chosen = std::next(blocks.begin(), random.below(static_cast<uint32_t>(blocks.size())));
      system.allocator.deallocate(chosen->first);
      blocks.erase(chosen);
    }
  }
  for (const auto& [block, bytes] : blocks) system.allocator.deallocate(block);
  reservation.reset();
  CHECK(system.allocator.stats().in_use == 0);
  system.allocator.release_cache();
  CHECK(system.held == 0);
}

TEST_CASE("allocator: the memory of recorded work is nobody else's while the work may run again") {
  TestSystem system;
  CachingAllocator& allocator = system.allocator;
  void* before = allocator.allocate(100);
  auto memory = std::make_unique<Reservation>(allocator);
  void* temporary = allocator.allocate(100);
  allocator.deallocate(temporary);
  CHECK(allocator.allocate(100) == temporary);  // within the work it is reused
  allocator.deallocate(temporary);
  void* kept = allocator.allocate(5000);
  memory->close();
  allocator.deallocate(before);
  CHECK(allocator.allocate(100) == before);
  void* other = allocator.allocate(100);
  CHECK(other != temporary);
  allocator.deallocate(kept);
  void* large = allocator.allocate(5000);
  CHECK(large != kept);
  memory.reset();
  // Now the place of both is free, in one piece.
  CHECK(allocator.allocate(5000) == temporary);
  for (void* block : {before, other}) allocator.deallocate(block);
  for (void* block : {large, temporary}) allocator.deallocate(block);
  CHECK(allocator.stats().in_use == 0);
  allocator.release_cache();
  CHECK(system.held == 0);
}

TEST_CASE("allocator: a repeated step asks the system for nothing") {
  const auto step = [] {
    Tensor x = counting({33, 65});
    for (int i = 0; i < 5; ++i) x = ops::relu(ops::add(x, x));
    return ops::matmul(x, x, {.transpose_b = true});
  };
  step();
  const int64_t before = memory_stats({}).system_requests;
  for (int i = 0; i < 10; ++i) step();
  CHECK(memory_stats({}).system_requests == before);
}

TEST_CASE("allocator: threads share it, and a block belongs to one of them") {
  const size_t before = memory_stats({}).in_use;
  std::vector<int> torn(4, 0);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < torn.size(); ++t)
    threads.emplace_back([&torn, t] {
      for (int i = 0; i < 300; ++i) {
        const Tensor x({1 + i % 7, 50}, DType::u8);
        std::fill_n(x.data<uint8_t>(), x.numel(), static_cast<uint8_t>(t));
        std::this_thread::yield();
        for (uint8_t value : x.to_vector<uint8_t>()) torn[t] += value != t;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(torn == std::vector<int>(4, 0));
  CHECK(memory_stats({}).in_use == before);
}

TEST_CASE("philox4x32-10: the known answers of Random123") {
  struct Answer {
    uint32_t counter[4], key[2], result[4];
  };
  const Answer answers[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const auto& [counter, key, result] : answers) {
    const RandomKey name{.seed = uint64_t{key[1]} << 32 | key[0],
                         .stream = static_cast<RandomStream>(counter[1]),
                         .index = uint64_t{counter[3]} << 32 | counter[2]};
    const Random4 got = philox(name, counter[0]);
    const auto expected =
        reference::philox4x32_10({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]);
    for (int i = 0; i < 4; ++i) {
      CHECK(got.value[i] == result[i]);
      CHECK(expected.word[i] == result[i]);
    }
  }
}

TEST_CASE("a random stream is the sequence of its key, and its numbers lie where they should") {
  const RandomKey key{.seed = 5, .stream = RandomStream::test, .index = uint64_t{1} << 40};
  RandomGenerator stream(key), same(key), other({.seed = 6});
  for (int64_t i = 0; i < 21; ++i) {
    CHECK(stream.bits() == reference::random_bits(key, i));
    if (i % 4 == 0) CHECK(same.bits() != other.bits());
  }
  double sum = 0, squares = 0;
  constexpr int count = 100000;
  for (int i = 0; i < count; ++i) {
    const float u = stream.uniform();
    REQUIRE((u >= 0 && u < 1));
    REQUIRE(stream.below(7) < 7);
    const float x = stream.normal();
    REQUIRE(std::isfinite(x));
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  // Five standard errors of the mean (1 / sqrt n) and of the variance (sqrt(2 / n)).
  CHECK(std::abs(sum / count) < 5 / std::sqrt(count));
  CHECK(std::abs(squares / count - 1) < 5 * std::sqrt(2.0 / count));
  CHECK(uniform_from(0xffffffff) < 1.0f);
  CHECK(below_from(0xffffffff, 10) == 9);
  CHECK(std::isfinite(normal_from(0xffffffff, 0)));
}
