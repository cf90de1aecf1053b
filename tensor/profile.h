// Named ranges in the profile of a GPU's tools (NVTX); they cost next to nothing without one, and nothing in
// a build without CUDA.
#pragma once

namespace la {

/// A range from construction to destruction. What is recorded within one (CapturedStep) shows it only then.
class ProfileRange {
 public:
  explicit ProfileRange(const char* name);
  ~ProfileRange();
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;
};

}  // namespace la
