#include "tensor/shape.h"

namespace la {

std::string Shape::str() const { return "[" + joined(*this, ", ") + "]"; }

void Shape::no_dimension(int dimension) const {
  fail("there is no dimension {} of shape {}", dimension, *this);
}

}  // namespace la
