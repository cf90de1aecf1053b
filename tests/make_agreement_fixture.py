"""Writes tests/fixtures/agreement.safetensors: how well divisions of some things agree, by scikit-learn.

    python3 tests/make_agreement_fixture.py    (needs numpy, scikit-learn, safetensors)

Of each case the two divisions, and in the metadata purity, NMI and ARI with all their digits. It was run with scikit-learn
1.9.1; its output is part of the project.
"""

import numpy
import sklearn
from safetensors.numpy import save_file
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix


def noisy_copy(labels, share, largest, generator):
    return numpy.where(generator.random(len(labels)) < share, generator.integers(0, largest, len(labels)), labels)


def main():
    generator = numpy.random.default_rng(7)
    labels = generator.integers(0, 10, 2000)
    cases = {
        "alike": (noisy_copy(labels, 0.2, 10, generator), labels),
        "finer": (labels * 5 + generator.integers(0, 5, 2000), labels),
        "coarser": (labels // 4, labels),
        "unrelated": (generator.integers(0, 7, 2000), labels),
        "uneven": (generator.geometric(0.3, 500), generator.geometric(0.2, 500)),
        "one": (numpy.zeros(50), generator.integers(0, 3, 50)),
        "singles": (numpy.arange(50), generator.integers(0, 3, 50)),
    }
    tensors, metadata = {}, {"scikit-learn": sklearn.__version__}
    for name, (clusters, of_things) in cases.items():
        tensors[name + ".clusters"] = clusters.astype(numpy.int32)
        tensors[name + ".labels"] = of_things.astype(numpy.int32)
        table = contingency_matrix(of_things, clusters)
        metadata[name + ".purity"] = repr(float(table.max(0).sum() / table.sum()))
        metadata[name + ".nmi"] = repr(float(normalized_mutual_info_score(of_things, clusters)))
        metadata[name + ".ari"] = repr(float(adjusted_rand_score(of_things, clusters)))
    save_file(tensors, "tests/fixtures/agreement.safetensors", metadata)


main()
