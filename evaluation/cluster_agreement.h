// How well two divisions of the same things agree: clusters with labels, or clusters with those of another
// clustering. A thing has a number from 0 in each; one that has -1 in either takes no part.
#pragma once

#include <cstdint>
#include <vector>

namespace la {

// Of a and b, as long as one another, n_ij things have number i in a and j in b; a_i and b_j are the sums of
// rows and columns, N that of all. An Error where the lengths differ, or nothing takes part.

/// The share of things whose label is the most frequent one of their cluster: sum_i max_j n_ij / N. It grows
/// with the number of clusters, to 1 where each thing is one.
double purity(const std::vector<int32_t>& clusters, const std::vector<int32_t>& labels);

/// The mutual information of both divisions over the arithmetic mean of their entropies, in [0, 1] (Strehl
/// and Ghosh, JMLR 2002, take the geometric mean); 1 where neither divides anything.
double normalized_mutual_information(const std::vector<int32_t>& a, const std::vector<int32_t>& b);

/// The share of pairs of things on which both agree, together or apart, between what chance gives (0) and
/// all (1): Hubert and Arabie, "Comparing partitions", Journal of Classification 1985.
double adjusted_rand_index(const std::vector<int32_t>& a, const std::vector<int32_t>& b);

}  // namespace la
