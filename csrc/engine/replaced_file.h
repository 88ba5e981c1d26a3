// A file that is written beside its name and takes its place when it is whole: under the name stands either what was
// there before, or the new file. Whoever has the old one open or mapped keeps it, from whatever moment on.
#pragma once

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace llamacffi {

// Names the file, and says why.
struct not_written : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Whether a file can take the place of what is there: not that of a device or a pipe, nor of a file that has no name
// any more, to which /proc/self/fd leads.
bool is_replaceable(const char *name);

class replaced_file {
  public:
    // Make an empty file of a name that nobody has; throws not_written where that cannot be.
    explicit replaced_file(const char *name);
    ~replaced_file();  // removes what was not put into its place
    replaced_file(const replaced_file &) = delete;
    replaced_file &operator=(const replaced_file &) = delete;

    const std::string &partial() const { return partial_; }

    // Let the file take its place, once it is on the disk; throws not_written where it is shorter than `size`.
    void put_in_place(size_t size);

    // The same of a GGUF file, which is as long as its own tensor table says.
    void put_gguf_in_place();

    // Let the file take its place as it is: it is written afterwards.
    void take_place();

  private:
    void make();

    std::filesystem::path target_;  // a link stays, and what it points to is replaced
    std::string partial_;
    bool is_new_ = true;
};

}  // namespace llamacffi
