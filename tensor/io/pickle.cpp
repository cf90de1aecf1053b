#include "tensor/io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "tensor/error.h"
#include "tensor/format.h"

namespace la {

// Operations of protocols up to 5, by their names in Python's pickletools.
enum class Operation : uint8_t {
  mark = '(',
  stop = '.',
  pop = '0',
  pop_mark = '1',
  dup = '2',
  none = 'N',
  newtrue = 0x88,
  newfalse = 0x89,
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  long1 = 0x8a,
  binfloat = 'G',
  binunicode = 'X',
  short_binunicode = 0x8c,
  binunicode8 = 0x8d,
  binstring = 'T',
  short_binstring = 'U',
  binbytes = 'B',
  short_binbytes = 'C',
  binbytes8 = 0x8e,
  empty_list = ']',
  append = 'a',
  appends = 'e',
  list = 'l',
  empty_tuple = ')',
  tuple = 't',
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  empty_dict = '}',
  dict = 'd',
  setitem = 's',
  setitems = 'u',
  empty_set = 0x8f,
  additems = 0x90,
  frozenset = 0x91,
  global = 'c',
  stack_global = 0x93,
  reduce = 'R',
  newobj = 0x81,
  build = 'b',
  binpersid = 'Q',
  binput = 'q',
  long_binput = 'r',
  memoize = 0x94,
  binget = 'h',
  long_binget = 'j',
  proto = 0x80,
  frame = 0x95,
};

class PickleMachine {
 public:
  using Id = Pickle::Id;
  using Value = Pickle::Value;
  using Kind = Value::Kind;

  PickleMachine(Pickle& pickle, std::string_view bytes) : pickle_(pickle), bytes_(bytes) {}

  void run() {
    while (step()) {
    }
    check(stack_.size() == 1 && stack_.back() != mark_id, "the pickle ends with {} values on its stack",
          stack_.size() - std::count(stack_.begin(), stack_.end(), mark_id));
    pickle_.root_ = stack_.back();
    pickle_.size_ = at_;
  }

 private:
  static constexpr Id mark_id = -1;

  // --- What comes next in the bytes ---
  std::string_view take(uint64_t count) {
    check(count <= bytes_.size() - at_, "the pickle is cut off at byte {}", bytes_.size());
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const size_t end = bytes_.find('\n', at_);
    check(end != bytes_.npos, "the pickle is cut off at byte {}", bytes_.size());
    const std::string_view taken = take(end - at_);
    ++at_;
    return taken;
  }
  /// Little-endian, of any length; what does not fit 64 bits is a magic number that nobody counts with.
  int64_t long_integer(std::string_view digits) {
    uint64_t value = 0;
    for (size_t i = 0; i < digits.size() && i < 8; ++i)
      value |= uint64_t{static_cast<uint8_t>(digits[i])} << (8 * i);
    const bool negative = !digits.empty() && digits.size() < 8 && (digits.back() & 0x80) != 0;
    if (negative) value |= ~uint64_t{0} << (8 * digits.size());
    return static_cast<int64_t>(value);
  }

  // --- The stack ---
  Id push(Value value) {
    constexpr size_t most_values = 1 << 22;  // one takes a hundred bytes, where it has one in the pickle
    check(pickle_.values_.size() < most_values, "the pickle has more than {} values", most_values);
    pickle_.values_.push_back(std::move(value));
    stack_.push_back(static_cast<Id>(pickle_.values_.size() - 1));
    return stack_.back();
  }
  Id pop() {
    check(!stack_.empty() && stack_.back() != mark_id, "the pickle takes from an empty stack at byte {}",
          at_);
    const Id id = stack_.back();
    stack_.pop_back();
    return id;
  }
  /// What lies above the last mark, which goes too.
  std::vector<Id> pop_to_mark() {
    size_t begin = stack_.size();
    while (begin > 0 && stack_[begin - 1] != mark_id) --begin;
    check(begin > 0, "the pickle lacks a mark at byte {}", at_);
    const std::vector<Id> items(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin - 1);
    return items;
  }
  Value& top() {
    check(!stack_.empty() && stack_.back() != mark_id, "the pickle uses an empty stack at byte {}", at_);
    return pickle_.values_[static_cast<size_t>(stack_.back())];
  }
  const std::string& text_of(Id id) const {
    check(pickle_[id].kind == Kind::text, "the pickle has another value in place of a name at byte {}", at_);
    return pickle_[id].text;
  }

  void push_text(std::string_view text) { push({.kind = Kind::text, .text = std::string(text)}); }
  void push_list(std::vector<Id> items) { push({.kind = Kind::list, .items = std::move(items)}); }
  void push_integer(int64_t value) { push({.kind = Kind::integer, .integer = value}); }
  void push_last(size_t count) {
    std::vector<Id> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    push_list(std::move(items));
  }
  void extend(const std::vector<Id>& items) {
    Value& container = top();
    container.items.insert(container.items.end(), items.begin(), items.end());
  }
  void push_global(std::string_view module, std::string_view name) {
    push({.kind = Kind::global, .text = formatted("{}.{}", module, name)});
  }
  /// Calls nothing. An OrderedDict without arguments is a dictionary like any other.
  void push_call(Id function, Id arguments) {
    const bool dictionary =
        pickle_[function].text == "collections.OrderedDict" && pickle_[arguments].items.empty();
    if (dictionary)
      push({.kind = Kind::dictionary});
    else
      push({.kind = Kind::call, .items = {function, arguments}});
  }

  // --- The memo ---
  void put(uint32_t place) { memo_[place] = stack_.empty() ? mark_id : stack_.back(); }
  void get(uint32_t place) {
    const auto found = memo_.find(place);
    check(found != memo_.end() && found->second != mark_id, "the pickle has nothing at place {} of its memo",
          place);
    stack_.push_back(found->second);
  }

  /// One operation; false at the end.
  bool step() {
    const uint8_t code = number<uint8_t>();
    switch (static_cast<Operation>(code)) {
      case Operation::stop:
        return false;
      case Operation::proto: {
        const int protocol = number<uint8_t>();
        check(protocol <= 5, "the pickle is of protocol {}, expected at most 5", protocol);
        break;
      }
      case Operation::frame:
        number<uint64_t>();
        break;
      case Operation::mark:
        stack_.push_back(mark_id);
        break;
      case Operation::pop:
        if (!stack_.empty() && stack_.back() == mark_id)
          stack_.pop_back();
        else
          pop();
        break;
      case Operation::pop_mark:
        pop_to_mark();
        break;
      case Operation::dup:
        top();
        stack_.push_back(stack_.back());
        break;
      case Operation::none:
        push({});
        break;
      case Operation::newtrue:
      case Operation::newfalse:
        push({.kind = Kind::boolean, .integer = code == static_cast<uint8_t>(Operation::newtrue)});
        break;
      case Operation::binint:
        push_integer(number<int32_t>());
        break;
      case Operation::binint1:
        push_integer(number<uint8_t>());
        break;
      case Operation::binint2:
        push_integer(number<uint16_t>());
        break;
      case Operation::long1:
        push_integer(long_integer(take(number<uint8_t>())));
        break;
      case Operation::binfloat:
        push({.kind = Kind::real, .real = std::bit_cast<double>(__builtin_bswap64(number<uint64_t>()))});
        break;
      case Operation::binunicode:
      case Operation::binbytes:
      case Operation::binstring:
        push_text(take(number<uint32_t>()));
        break;
      case Operation::short_binunicode:
      case Operation::short_binbytes:
      case Operation::short_binstring:
        push_text(take(number<uint8_t>()));
        break;
      case Operation::binunicode8:
      case Operation::binbytes8:
        push_text(take(number<uint64_t>()));
        break;
      case Operation::empty_list:
      case Operation::empty_tuple:
      case Operation::empty_set:
        push_list({});
        break;
      case Operation::list:
      case Operation::tuple:
      case Operation::frozenset:
        push_list(pop_to_mark());
        break;
      case Operation::tuple1:
        push_last(1);
        break;
      case Operation::tuple2:
        push_last(2);
        break;
      case Operation::tuple3:
        push_last(3);
        break;
      case Operation::append: {
        const Id item = pop();
        extend({item});
        break;
      }
      case Operation::appends:
      case Operation::additems:
      case Operation::setitems:
        extend(pop_to_mark());
        break;
      case Operation::empty_dict:
        push({.kind = Kind::dictionary});
        break;
      case Operation::dict:
        push({.kind = Kind::dictionary, .items = pop_to_mark()});
        break;
      case Operation::setitem: {
        const Id value = pop(), key = pop();
        extend({key, value});
        break;
      }
      case Operation::global: {
        const std::string_view module = line(), name = line();
        push_global(module, name);
        break;
      }
      case Operation::stack_global: {
        const Id name = pop(), module = pop();
        push_global(text_of(module), text_of(name));
        break;
      }
      case Operation::reduce:
      case Operation::newobj: {
        const Id arguments = pop(), function = pop();
        push_call(function, arguments);
        break;
      }
      case Operation::build: {
        const Id state = pop();
        if (top().kind == Kind::call) extend({state});
        break;
      }
      case Operation::binpersid:
        push({.kind = Kind::persistent, .items = {pop()}});
        break;
      case Operation::binput:
        put(number<uint8_t>());
        break;
      case Operation::long_binput:
        put(number<uint32_t>());
        break;
      case Operation::memoize:
        put(static_cast<uint32_t>(memo_.size()));
        break;
      case Operation::binget:
        get(number<uint8_t>());
        break;
      case Operation::long_binget:
        get(number<uint32_t>());
        break;
      default:
        fail("the pickle has the operation 0x{:02x} at byte {}, which no tensors need", code, at_ - 1);
    }
    return true;
  }

  Pickle& pickle_;
  std::string_view bytes_;
  size_t at_ = 0;
  std::vector<Id> stack_;
  std::unordered_map<uint32_t, Id> memo_;
};

Pickle::Pickle(std::string_view bytes) { PickleMachine(*this, bytes).run(); }

bool Pickle::is_call_of(const Value& value, std::string_view global) const {
  return value.kind == Value::Kind::call && (*this)[value.items[0]].kind == Value::Kind::global &&
         (*this)[value.items[0]].text == global;
}

const Pickle::Value* Pickle::find(const Value& dictionary, std::string_view key) const {
  if (dictionary.kind != Value::Kind::dictionary) return nullptr;
  const Value* found = nullptr;
  for (size_t i = 0; i + 1 < dictionary.items.size(); i += 2) {
    const Value& name = (*this)[dictionary.items[i]];
    if (name.kind == Value::Kind::text && name.text == key) found = &(*this)[dictionary.items[i + 1]];
  }
  return found;
}

}  // namespace la
