// How well two divisions of the same things agree.
#include <doctest/doctest.h>

#include <cmath>

#include "evaluation/cluster_agreement.h"
#include "tensor/io/safetensors.h"

namespace la {

TEST_CASE("cluster agreement is scikit-learn's") {
  const SafetensorsFile file = read_safetensors("tests/fixtures/agreement.safetensors");
  for (const char* name : {"alike", "finer", "coarser", "unrelated", "uneven", "one", "singles"}) {
    CAPTURE(name);
    const std::string prefix = std::string(name) + ".";
    const auto clusters = file.at(prefix + "clusters").to_vector<int32_t>(),
               labels = file.at(prefix + "labels").to_vector<int32_t>();
    // Sums of less than 500 terms of at most log 2000 = 7.6, with three roundings each.
    constexpr double tolerance = 500 * 7.6 * 3 * 0x1p-53;
    const auto expected = [&](const char* measure) { return std::stod(file.text(prefix + measure)); };
    CHECK(std::abs(purity(clusters, labels) - expected("purity")) <= tolerance);
    CHECK(std::abs(normalized_mutual_information(clusters, labels) - expected("nmi")) <= tolerance);
    CHECK(std::abs(adjusted_rand_index(clusters, labels) - expected("ari")) <= tolerance);
  }
}

TEST_CASE("cluster agreement: names of clusters do not matter, and who has no label takes no part") {
  const std::vector<int32_t> clusters{4, 4, 0, 0, 7, 7}, labels{0, 0, 1, 1, 2, 2};
  for (const auto& measure : {purity, normalized_mutual_information, adjusted_rand_index}) {
    CHECK(measure(clusters, labels) == doctest::Approx(1));
    CHECK(measure({4, 4, 0, 0, 7, 7, 7}, {0, 0, 1, 1, 2, 2, -1}) == doctest::Approx(1));
    CHECK(measure({0, 0}, {3, 3}) == 1);  // neither divides anything
    CHECK_THROWS_WITH_AS(measure({0}, {}), doctest::Contains("1 numbers and 0"), Error);
    CHECK_THROWS_WITH_AS(measure({0, 1}, {-1, -1}), doctest::Contains("of 2 things none"), Error);
  }
  CHECK(adjusted_rand_index({0, 1, 2}, {2, 1, 0}) == 1);  // both take each alone
}

}  // namespace la
