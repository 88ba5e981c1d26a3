// A file that is written beside its name and takes its place when it is whole: under the name stands either what was
// there before, or the new file.
#pragma once

#include <filesystem>
#include <string>

namespace llamacffi {

class replaced_file {
  public:
    // Make an empty file of a name that nobody has; throws std::runtime_error where that cannot be.
    explicit replaced_file(const char *name);
    ~replaced_file();  // removes what was not put into its place
    replaced_file(const replaced_file &) = delete;
    replaced_file &operator=(const replaced_file &) = delete;

    const std::string &partial() const { return partial_; }

    // Let the file take its place, once it is on the disk; throws std::runtime_error where it is no whole GGUF file.
    void put_in_place();

  private:
    void make();

    std::filesystem::path target_;  // a link stays, and what it points to is replaced
    std::string partial_;
    bool is_new_ = true;
};

}  // namespace llamacffi
