// Several processes: what they do together, against the same done by one. The cases of the suite "processes" are run by as many
// processes as the tests are started with, by mpirun or alone (tests/run_processes.sh).
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "tensor/captured_step.h"
#include "tensor/cuda/nccl_collectives.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tensor/shards.h"
#include "tests/op_case.h"
#include "tests/processes.h"

using namespace la;

namespace {

std::vector<float> numbers(int64_t n, uint64_t seed) {
  return ops::random_normal({n}, {.seed = seed}).to_vector<float>();
}

/// Sums in pairs, as OrderedSum says it: the definition, by recursion.
float pairwise(std::span<const float> x) {
  if (x.size() == 1) return x[0];
  size_t half = 1;
  while (2 * half < x.size()) half *= 2;
  return pairwise(x.first(half)) + pairwise(x.subspan(half));
}

}  // namespace

// Where there is a GPU: NCCL's calls by one rank, in a step that is recorded and run again.
TEST_CASE("NCCL exchanges tensors within a recorded step" * doctest::test_suite("devices")) {
  for (const Device device : available_devices()) {
    if (device.is_cpu()) continue;
    std::unique_ptr<Collectives> ranks;
    try {
      ranks = make_nccl_collectives(alone());
    } catch (const Error& error) {
      MESSAGE("not tested: ", std::string(error.what()));
      continue;
    }
    const std::vector<float> values = numbers(1000, 1);
    const Tensor x = Tensor::from(values, {4, 250}, device), gathered({4, 250}, DType::f32, device),
                 exchanged({4, 250}, DType::f32, device), reduced({4, 250}, DType::f32, device),
                 sum = Tensor::zeros({4, 250}, DType::f32, device);
    const std::vector<int64_t> rows{4};
    CapturedStep step(device, ranks->can_be_recorded());
    constexpr int runs = 5;  // the third is recorded
    for (int i = 0; i < runs; ++i)
      step.run([&] {
        ranks->all_gather("rows", x, gathered, rows);
        ranks->all_to_all("parts", gathered, exchanged);
        ranks->reduce_scatter("sums", exchanged, reduced);
        ranks->all_reduce("sums", reduced, Reduction::sum);
        ranks->broadcast("rows", reduced, 0);
        ops::add_in_place(sum, reduced);
      });
    std::vector<float> expected(values.size(), 0.0f);
    for (int i = 0; i < runs; ++i)
      for (size_t j = 0; j < values.size(); ++j) expected[j] += values[j];
    CHECK(sum.to_vector<float>() == expected);
  }
}

TEST_SUITE("processes") {
  TEST_CASE("all_reduce, all_gather, all_to_all, reduce_scatter, broadcast") {
    Collectives& ranks = processes();
    const int size = ranks.size(), me = ranks.rank();
    const Tensor counts = Tensor::from(std::vector<int32_t>{me, 1, -me}, {3});
    ranks.all_reduce("counts", counts, Reduction::sum);
    const int sum = size * (size - 1) / 2;
    CHECK(counts.to_vector<int32_t>() == std::vector<int32_t>{sum, size, -sum});

    const Tensor largest =
        Tensor::from(std::vector<float>{static_cast<float>(me), static_cast<float>(-me)}, {2});
    ranks.all_reduce("largest", largest, Reduction::max);
    CHECK(largest.to_vector<float>() == std::vector<float>{static_cast<float>(size - 1), 0.0f});

    // Rank r has r rows, so that rank 0 has none.
    std::vector<int64_t> rows(static_cast<size_t>(size));
    std::iota(rows.begin(), rows.end(), 0);
    const Tensor all({sum, 2}, DType::i32);
    ranks.all_gather("rows", Tensor::from(std::vector<int32_t>(static_cast<size_t>(2 * me), me), {me, 2}),
                     all, rows);
    std::vector<int32_t> expected;
    for (int r = 0; r < size; ++r) expected.insert(expected.end(), static_cast<size_t>(2 * r), r);
    CHECK(all.to_vector<int32_t>() == expected);

    std::vector<int32_t> mine;
    for (int r = 0; r < size; ++r) mine.push_back(100 * me + r);
    const Tensor from = Tensor::from(mine, {size}), to({size}, DType::i32);
    ranks.all_to_all("numbers", from, to);
    for (int r = 0; r < size; ++r) CHECK(to.to_vector<int32_t>()[static_cast<size_t>(r)] == 100 * r + me);

    const Tensor part({1}, DType::f32);
    ranks.reduce_scatter("numbers", Tensor::full({size}, static_cast<float>(me)), part);
    CHECK(part.item() == static_cast<float>(sum));

    const Tensor x = Tensor::full({5}, static_cast<float>(me));
    ranks.broadcast("numbers", x, size - 1);
    CHECK(x.to_vector<float>() == std::vector<float>(5, static_cast<float>(size - 1)));
    ranks.barrier("the end");
  }

  TEST_CASE("several exchanges that are started give what those give that are waited for, in any order") {
    Collectives& ranks = processes();
    const int size = ranks.size();
    constexpr int count = 6;
    std::vector<Tensor> expected, found;
    std::vector<std::unique_ptr<Exchange>> exchanges;
    const std::vector<int64_t> rows(static_cast<size_t>(size), 3);
    for (int i = 0; i < count; ++i) {
      const auto own = static_cast<uint64_t>(ranks.rank() * count + i);
      const int64_t n = i < 4 ? 5 : 100'000;  // MPI sends these at once, those when they are asked for
      const Tensor x = ops::random_normal({size, n}, {.seed = own});
      const Tensor y = ops::random_normal({3, n}, {.seed = own, .index = 1});
      for (std::vector<Tensor>* to : {&expected, &found}) {
        to->emplace_back(Shape{size, n});
        to->emplace_back(Shape{3 * size, n});
      }
      const size_t next = found.size() - 2;
      exchanges.push_back(ranks.start_all_to_all("started", x, found[next]));
      // Where each rank waits for others does not matter to what is under way.
      for (int times = 0; times < i % (ranks.rank() + 1); ++times) exchanges.front()->done();
      ranks.all_to_all("waited for", x, expected[next]);
      exchanges.push_back(ranks.start_all_gather("started", y, found[next + 1], rows));
      ranks.all_gather("waited for", y, expected[next + 1], rows);
    }
    for (size_t i = 0; i < exchanges.size(); ++i) {
      const size_t other = (7 * i + static_cast<size_t>(ranks.rank())) % exchanges.size();
      exchanges[other]->wait();
      CHECK(exchanges[other]->done());
      CHECK(found[other].to_vector<float>() == expected[other].to_vector<float>());
    }
    if (ranks.alone()) return;
    CHECK(ranks.bytes_sent().at("started") == ranks.bytes_sent().at("waited for"));
  }

  TEST_CASE("what nobody waits for does not harm what comes after it") {
    Collectives& ranks = processes();
    const Shards shards(ranks, ranks.size());
    const auto part = [&](float value) { return std::vector<Tensor>{Tensor::full({200'000}, value)}; };
    {
      SumsInProgress dropped(shards);
      for (const float value : {1.0f, 2.0f, 3.0f}) dropped.start("sums that are dropped", part(value));
    }
    std::vector<Tensor> kept;  // memory that would have been freed
    for (int i = 0; i < 8; ++i) kept.push_back(Tensor::full({200'000}, 7.0f));
    SumsInProgress sums(shards);
    sums.start("numbers", part(5));
    CHECK(sums.finish()[0].to_vector<float>() ==
          std::vector<float>(200'000, 5.0f * static_cast<float>(ranks.size())));
    for (const Tensor& x : kept) CHECK(x.to_vector<float>() == std::vector<float>(200'000, 7.0f));
  }

  TEST_CASE("texts of any length") {
    Collectives& ranks = processes();
    CHECK(ranks.broadcast("a text", ranks.rank() == 0 ? "from the first" : "", 0) == "from the first");
    const auto texts = ranks.all_gather("texts", std::string(static_cast<size_t>(ranks.rank()), 'x'));
    REQUIRE(texts.size() == static_cast<size_t>(ranks.size()));
    for (size_t r = 0; r < texts.size(); ++r) CHECK(texts[r] == std::string(r, 'x'));
  }

  TEST_CASE("bytes sent are those of a ring") {
    Collectives& ranks = processes();
    const int64_t size = ranks.size();
    const auto sent = [&](const char* what) {
      const auto found = ranks.bytes_sent().find(what);
      return found == ranks.bytes_sent().end() ? 0 : found->second;
    };
    const std::vector<int64_t> rows(static_cast<size_t>(size), 3);
    ranks.all_gather("bytes of all_gather", Tensor::zeros({3, 4}), Tensor({3 * size, 4}), rows);
    CHECK(sent("bytes of all_gather") == (size - 1) * 48);
    ranks.all_reduce("bytes of all_reduce", Tensor::zeros({12 * size}), Reduction::sum);
    CHECK(sent("bytes of all_reduce") == 2 * (size - 1) * 48);
    const Shards shards(ranks, 2 * size);
    shards.sum("bytes of sum", {Tensor::zeros({12 * size}), Tensor::zeros({12 * size})});
    CHECK(sent("bytes of sum") == 2 * (size - 1) * 48);
    shards.sum_own_rows("bytes of rows", {Tensor::zeros({2 * size, 6}), Tensor::zeros({2 * size, 6})});
    CHECK(sent("bytes of rows") == (size - 1) * 48);
  }

  TEST_CASE("a sum over shards does not depend on the number of ranks") {
    Collectives& ranks = processes();
    for (const int64_t times : {1, 2, 3, 4, 6})
      for (const int64_t n : {1, 2, 7, 100}) {
        const Shards shards(ranks, times * ranks.size());
        std::vector<Tensor> parts;
        for (int64_t s = shards.first(); s < shards.last(); ++s)
          parts.push_back(Tensor::from(numbers(n, static_cast<uint64_t>(s)), {n}));
        std::vector<float> expected;
        for (int64_t i = 0; i < n; ++i) {
          std::vector<float> terms;
          for (int64_t s = 0; s < shards.count(); ++s)
            terms.push_back(numbers(n, static_cast<uint64_t>(s))[static_cast<size_t>(i)]);
          expected.push_back(pairwise(terms));
        }
        CAPTURE(times);
        CAPTURE(n);
        std::vector<Tensor> copies;
        for (const Tensor& part : parts) copies.push_back(ops::copy(part).reshape({n, 1}));
        CHECK(shards.sum("numbers", parts).to_vector<float>() == expected);
        const RowRange own = shards.own_rows(n);
        CHECK(shards.sum_own_rows("numbers", copies).to_vector<float>() ==
              std::vector<float>(expected.begin() + own.begin, expected.begin() + own.end));
      }
  }

  TEST_CASE("sums in progress are the sums, whoever goes on with them first") {
    Collectives& ranks = processes();
    const std::vector<int64_t> sizes{1, 2, 7, 100'000, 12, 65'537, 3};
    for (const int64_t times : {1, 2, 3, 4, 6}) {
      CAPTURE(times);
      const Shards shards(ranks, times * ranks.size());
      const auto parts = [&](size_t i) {
        std::vector<Tensor> of_shards;
        for (int64_t s = shards.first(); s < shards.last(); ++s)
          of_shards.push_back(
              Tensor::from(numbers(sizes[i], static_cast<uint64_t>(s) * 100 + i), {sizes[i], 1}));
        return of_shards;
      };
      SumsInProgress sums(shards);
      for (int round = 0; round < 2; ++round) {
        std::vector<std::vector<float>> expected;
        for (size_t i = 0; i < sizes.size(); ++i) {
          sums.start("sums", parts(i));
          // Some ranks gather a sum before others, and between sums that are waited for.
          for (int64_t n = 0; n < ranks.rank() * static_cast<int64_t>(i); ++n) sums.advance();
          expected.push_back(shards.sum("sums", parts(i)).to_vector<float>());
        }
        const std::vector<Tensor> found = sums.finish();
        REQUIRE(found.size() == sizes.size());
        for (size_t i = 0; i < sizes.size(); ++i) {
          CHECK(found[i].shape() == Shape{sizes[i], 1});
          CHECK(found[i].to_vector<float>() == expected[i]);
        }
      }
      CHECK_THROWS_WITH_AS(sums.start("sums", {}), doctest::Contains("expected"), Error);
    }
  }

  TEST_CASE("rows of shards follow one another, and make up those of ranks") {
    Collectives& ranks = processes();
    const Shards shards(ranks, 3 * ranks.size());
    for (const int64_t n : {0, 1, 5, 1000}) {
      int64_t next = 0;
      for (int64_t s = 0; s < shards.count(); ++s) {
        CHECK(shards.rows(n, s).begin == next);
        next = shards.rows(n, s).end;
      }
      CHECK(next == n);
      for (int64_t s = 0; s < shards.count(); ++s) CHECK((n < 2 || shards.rows(n, s).size() != 1));
      CHECK(shards.own_rows(n).begin == shards.rows(n, shards.first()).begin);
      CHECK(shards.own_rows(n).end == shards.rows(n, shards.last() - 1).end);
      const RowRange own = shards.own_rows(n);
      std::vector<int32_t> mine(static_cast<size_t>(own.size())), all(static_cast<size_t>(n));
      std::iota(mine.begin(), mine.end(), static_cast<int32_t>(own.begin));
      std::iota(all.begin(), all.end(), 0);
      CHECK(shards.gather("numbers", Tensor::from(mine, {own.size()}), n).to_vector<int32_t>() == all);
    }
    if (!ranks.alone())
      CHECK_THROWS_WITH_AS(Shards(ranks, ranks.size() + 1), doctest::Contains("is not a multiple"), Error);
  }
}
