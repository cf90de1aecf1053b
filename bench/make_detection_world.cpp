// make_detection_world: pictures with pieces of clothing to be found (tests/detection_world.h).
#include "apps/options/command_line.h"
#include "apps/program.h"
#include "tests/detection_world.h"

using namespace la;

int main(int argc, char** argv) {
  constexpr ProgramInfo program = {
      "make_detection_world",
      "Writes a small data set for detection, made of Fashion-MNIST, in the layout of VOC."};
  return run_program(program.name, [&] {
    std::string folder, data = "/usr/share/datasets/fashion-mnist";
    DetectionWorld world;
    OptionTable table;
    Option& where = table.add("folder", folder, "where it is written");
    where.positional = where.required = true;
    table.add("data", data, "Fashion-MNIST");
    table.add("train", world.train, at_least(1), "pictures for training");
    table.add("test", world.test, at_least(1), "pictures for testing");
    table.add("seed", world.seed, "of all that is drawn by chance");
    if (!parse_command_line(program, table, argc, argv)) return 0;
    write_detection_world(folder, open_data({.path = data}), fashion_categories(), world);
    return 0;
  });
}
