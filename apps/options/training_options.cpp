#include "apps/options/training_options.h"

#include "apps/options/common_options.h"
#include "layers/networks.h"

namespace la {
namespace {

constexpr Option::OnResume free_on_resume = Option::OnResume::free;

void add_data(OptionTable& t, DataOptions& data, AugmentationOptions& view) {
  t.group("Data");
  t.add("data", data.path, "the pictures: a file or folder").on_resume = free_on_resume;
  add_picture_options(t, data);
  t.add("background-color", data.decode.background,
        "what shows where a picture is transparent: white, gray, black or #rrggbb");
  add_test_picture_options(t, data);
  t.add("image-size", view.size, between(0, 4096),
        "height and width of what the network sees; 0: the pictures' own up to 224, for picture files 224");

  t.group("Augmentation");
  t.add("crop-min-area", view.crop_min_area, above(0, 1),
        "random crop: smallest share of the picture's area");
  t.add("crop-max-aspect", view.crop_max_aspect, at_least(1),
        "random crop: largest ratio of its sides before resizing");
  t.add("flip", view.flip, share, "probability of a horizontal flip");
  t.add("jitter", view.jitter, share, "strength of the change of brightness, contrast, saturation and hue");
  t.add("grayscale", view.grayscale, share, "probability of losing the colors");
}

void add_network(OptionTable& t, NetworkOptions& network, RunOptions& run) {
  t.group("Network");
  t.add("network", network.name, network_names(), "the network f of the embedding");
  t.add("head", network.head, "what stands between its features and the embedding");
  t.add("dim", network.dim, between(1, 65536), "D, dimensions of the embedding");
  t.add("initialization", network.initialization, "how parameters begin");
  t.add("norm-momentum", network.norm_momentum, above(0, 1),
        "batch norm: share of a step's statistics in the running ones");
  t.add("init", run.init,
        "begin with the weights of a .safetensors file: torchvision's names, or a checkpoint of ours");
  t.add("init-without", run.init_without,
        "leave out tensors of --init whose names begin so, such as fc.,layer4.");
}

void add_optimizer(OptionTable& t, OptimizerOptions& o) {
  t.group("Optimization");
  t.add("epochs", o.epochs, between(1, 1000000),
        "passes over the pictures, those of the warm start included");
  t.add("steps", o.steps, at_least(0), "where the run ends, in place of --epochs; 0: after the epochs");
  t.add("warm-start-epochs", o.warm_start_epochs, at_least(0), "first epochs, of instance recognition");
  t.add("supervised", o.supervised,
        "the baseline: train on the labels, by cross-entropy, in place of IR and LA; --dim is their number");
  t.add("batch", o.batch, at_least(1), "pictures per step");
  t.add("learning-rate", o.schedule.base, above(0), "learning rate of SGD, before any drop");
  t.add("schedule", o.schedule.kind, "how the learning rate falls");
  t.add("learning-rate-drops", o.drops, at_least(1),
        "step schedule: epochs (or steps, as '300270 steps') after which the rate is divided by 10; empty: "
        "60 % and 80 % of the epochs");
  t.add("learning-rate-warm-up", o.schedule.warm_up_epochs, at_least(0), "epochs of linear increase from 0");
  t.add("momentum", o.sgd.momentum, below_one, "momentum of SGD");
  t.add("weight-decay", o.sgd.weight_decay, at_least(0), "weight decay");
  t.add("decay-of", o.decay_of, "what decays; all: the scales and shifts of batch norm too");
}

void add_local_aggregation(OptionTable& t, LaOptions& o) {
  t.group("Local Aggregation");
  t.add("temperature", o.temperature, above(0), "tau of the softmax P(i | v)");
  t.add("bank-momentum", o.bank_momentum, below_one, "t, share of the old vector when the bank is updated");
  t.add("bank-init", o.bank_init, "the bank at the start: random vectors, or the untrained network's");
  t.add("bank-refresh", o.bank_refresh,
        "recompute the whole bank, without augmentation, before each clustering");
  t.add("background", o.background, at_least(0),
        "k, background neighbors of each picture; 0: chosen from the data");
  t.add("whole-background", o.whole_background, "k = N: all pictures are background neighbors of each");
  t.add("clusterings", o.clusterings, between(0, 1000),
        "H, k-means clusterings of the bank; 0: chosen from the data");
  t.add("clusters", o.clusters, between(0, INT32_MAX),
        "m, clusters of each clustering, or a number for each; 0: chosen from the data");
  t.add("combine-clusterings", o.combine_clusterings,
        "close are those that share a picture's cluster in any clustering, or in all; or mean of the "
        "clusterings' ratios");
  t.add("cluster-every", o.cluster_every, at_least(1),
        "epochs (or steps, as '1000 steps') from one clustering to the next");
  t.add("cluster-seeds", o.cluster_seeds, "of k-means: others each time, or the same as the first time");
  t.add("cluster-iterations", o.kmeans.iterations, between(1, 100000), "iterations of k-means");
  t.add("spherical", o.kmeans.spherical, "k-means with centroids on the unit sphere");
  t.add("close-neighbors", o.close_neighbors,
        "close neighbors: members of a picture's clusters by k-means, the nearest, or those that chains of "
        "nearest neighbors join");
  t.add("close-count", o.close_count, at_least(0),
        "how many close neighbors with knn; 0: chosen from the data");
  t.add("ir-loss", o.ir_loss, "instance recognition: noise-contrastive estimation, or the full softmax");
  t.add("noise", o.noise, at_least(0), "noise samples a picture with nce; 0: chosen from the data");
  t.add("nce-constant", o.nce_constant,
        "Z of nce: the original program's, or estimated from the first batch");
}

void add_run(OptionTable& t, RunOptions& o) {
  t.group("Machine");
  add_machine_options(t, o.device, o.threads);
  add_loader_threads(t, o.loader_threads);
  t.add("shards", o.shards, between(0, 1 << 20),
        "parts of each batch and of the bank, shared out to the processes; the same number gives the same "
        "bytes for any number of processes; 0: one each")
      .on_resume = free_on_resume;
  t.add("sync-batch-norm", o.sync_batch_norm,
        "several processes: batch norm takes its statistics over the whole batch, not each process's part; "
        "with one shard for each process");
  t.add("collectives", o.collectives, {"auto", "mpi"},
        "by what several processes exchange tensors; auto: by the fastest that there is for the device")
      .on_resume = free_on_resume;
  t.add("collective-timeout", o.collective_timeout, at_least(1),
        "seconds that a process waits for the others")
      .on_resume = free_on_resume;
  t.add("precision", o.precision,
        "arithmetic of the network; bank, loss and parameters stay f32; auto: bf16 where the device "
        "multiplies it");
  t.add("tf32", o.tf32, "GPU: multiply f32 on tensor cores, with 10 bits of fraction");
  t.add("autotune", o.autotune, "GPU: time several plans for each convolution and product, keep the fastest")
      .on_resume = free_on_resume;
  t.add("no-graph", o.no_graph, "GPU: launch each kernel by itself instead of a recorded step").on_resume =
      free_on_resume;

  t.group("Run");
  t.add("seed", o.seed, "of all random numbers; the same seed repeats a run");
  t.add("eval-every", o.eval_every, at_least(0),
        "epochs from one kNN evaluation to the next; 0: at the start, after the warm start and at the end")
      .on_resume = free_on_resume;
  t.add("keep-every", o.keep_every, at_least(0),
        "epochs (or steps, as '1000 steps') from one network that is kept, model-<epoch>-<step>.safetensors, "
        "to the next; 0: none")
      .on_resume = free_on_resume;
  t.add("tensorboard", o.tensorboard,
        "write curves and galleries of neighbors for TensorBoard into the run's folder")
      .on_resume = free_on_resume;
  t.add("run", o.folder, "the run's folder; empty: runs/<data>-<network>-<number>").stored =
      Option::Stored::no;
  t.add("resume", o.resume, "continue the run in the folder --run").stored = Option::Stored::no;
  t.add("dry-run", o.dry_run, "print the plan, time a few steps, and end").stored = Option::Stored::no;
}

}  // namespace

OptionTable training_options(Config& config) {
  OptionTable table;
  add_data(table, config.data, config.augmentation);
  add_network(table, config.network, config.run);
  add_optimizer(table, config.optimizer);
  add_local_aggregation(table, config.la);
  add_run(table, config.run);
  return table;
}

}  // namespace la
