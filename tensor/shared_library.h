// Libraries that are loaded when they are first needed, so that a program runs without them where they are not.
#pragma once

#include <initializer_list>
#include <string>

namespace la {

/// A shared library, loaded for as long as the process runs.
class SharedLibrary {
 public:
  /// Whether libraries that this one loads later find its functions, as the parts of MPI need it.
  enum class Visibility { own, of_all };

  /// Loads the first of `names` that there is, in the folder lib beside the program, where the system looks by default, or in
  /// CUDA_HOME/lib64 (/usr/local/cuda/lib64 without CUDA_HOME); an Error that says why it cannot.
  SharedLibrary(std::string subject, std::initializer_list<const char*> names,
                Visibility visibility = Visibility::own);

  /// The function of that name; an Error if there is none. F is a function's type, such as decltype(cudnnCreate).
  template <class F>
  F* symbol(const char* name) const {
    return reinterpret_cast<F*>(address(name));
  }
  /// Where the function or object of that name lies; an Error if there is none.
  void* address(const char* name) const;

 private:
  std::string subject_;
  void* handle_ = nullptr;
};

}  // namespace la
