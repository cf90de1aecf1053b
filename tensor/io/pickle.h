// Pickle: the values in a file of Python's pickle module, read without Python. A pickle is a program for a small
// machine, which may call any function of Python; here nothing is ever called: a call is kept as what it is, the
// name of a function and its arguments. Operations that no data need are errors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace la {

class Pickle {
 public:
  using Id = int32_t;  // of a value: its place below

  struct Value {
    enum class Kind { none, boolean, integer, real, text, list, dictionary, global, call, persistent };
    Kind kind = Kind::none;
    int64_t integer = 0;  // of booleans too
    double real = 0;
    std::string text = {};  // bytes too; of a global "module.name"
    std::vector<Id> items =
        {};  // of lists, tuples and sets; keys and values in turn; of a call the function,
             // its arguments, and the states that it was given; of a persistent id the id
  };

  /// Reads one pickle from the beginning of the bytes; an Error for anything else.
  explicit Pickle(std::string_view bytes);

  const Value& operator[](Id id) const { return values_[static_cast<size_t>(id)]; }
  const Value& root() const { return (*this)[root_]; }
  Id root_id() const { return root_; }
  /// How many bytes it took.
  size_t size() const { return size_; }

  /// Whether the value is a call of that global, "module.name".
  bool is_call_of(const Value& value, std::string_view global) const;
  /// The value of a key that is a text; null if there is none. Of a key that comes twice, the last.
  const Value* find(const Value& dictionary, std::string_view key) const;

 private:
  friend class PickleMachine;
  std::vector<Value> values_;
  Id root_ = 0;
  size_t size_ = 0;
};

}  // namespace la
