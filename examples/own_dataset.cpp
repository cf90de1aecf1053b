// A data set of one's own: a class that gives picture i and its label, here drawn instead of read. All else of
// the library works with it: the trainer of Local Aggregation, and evaluation.
#include <la/la.h>

using namespace la;

/// Horizontal, vertical or slanting stripes of any width, place and contrast, on a noisy ground.
class Stripes : public Dataset {
 public:
  Stripes(int64_t size, uint64_t seed) : size_(size), seed_(seed) {}
  int64_t size() const override { return size_; }
  int channels() const override { return 1; }
  bool has_labels() const override { return true; }
  int label(int64_t i) const override { return static_cast<int>(i % 3); }
  std::string description() const override { return formatted("{} drawn pictures", size_); }
  size_t memory_bytes() const override { return 0; }

  /// Depends on i alone, so that several threads may ask for pictures at once, in any order.
  Picture picture(int64_t i) const override {
    RandomGenerator random({seed_, RandomStream::augmentation, static_cast<uint64_t>(i)});
    const int width = 2 + static_cast<int>(random.below(4)), place = static_cast<int>(random.below(60));
    const uint32_t contrast = 30 + random.below(40);
    auto pixels = std::make_shared<std::vector<uint8_t>>(side * side);
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x) {
        const int across = label(i) == 0 ? y : label(i) == 1 ? x : x + y;
        const bool bright = (across + place) / width % 2 == 1;
        (*pixels)[y * side + x] = static_cast<uint8_t>(random.below(180) + (bright ? contrast : 0));
      }
    return {pixels->data(), side, side, 1, pixels};
  }

 private:
  static constexpr int side = 28;
  int64_t size_;
  uint64_t seed_;
};

int main() {
  const Stripes train(3000, 1), test(600, 2);

  Config config;
  config.augmentation = {.size = 28, .crop_min_area = 0.75f};
  config.network = {.name = "resnet8-wide", .dim = 32, .head = HeadKind::linear_bn};
  config.optimizer = {.epochs = 4, .warm_start_epochs = 2, .batch = 50};
  config.la.bank_init = BankInit::forward;
  config.la.ir_loss = IrLoss::softmax;
  config.la.temperature = 0.1f;
  choose_defaults(config, train.size());
  validate(config, train.size());

  Trainer trainer(config, train, augmentation_for(config, train), Device::cpu());
  const Evaluator evaluator(&train, &test, trainer.view(), DType::f32);
  trainer.fill_bank();
  while (!trainer.finished()) {
    trainer.begin_epoch();
    for (StepReport report; trainer.train_step(report);) continue;
    print("epoch {}: loss {:.4f}\n", trainer.epoch(), trainer.epoch_loss());
  }
  print("accuracy {:.1f} %\n", 100 * evaluator.evaluate(trainer.network(), trainer.bank().vectors()).knn200);
}
