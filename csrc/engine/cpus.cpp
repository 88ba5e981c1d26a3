// The CPUs of this process: its affinity, and the quota of its cgroup. All that differs by platform is here.
//
// Linux says in /proc/self/cgroup which cgroup a process is in, below the mount of each hierarchy that
// /proc/self/mountinfo names (see cgroups(7)). A quota further up holds for all below it.
#include "cpus.h"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "ggml-cpu.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace llamacffi {

namespace {

#ifdef __linux__

int cpus_in_affinity() {
    for (int most = 1024; most <= 1 << 20; most *= 2) {
        cpu_set_t *set = CPU_ALLOC(most);
        const size_t size = CPU_ALLOC_SIZE(most);
        const int count = set && sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) return count;  // the kernel refuses a mask that is shorter than its own
    }
    return static_cast<int>(std::thread::hardware_concurrency());
}

std::vector<std::string> split(const std::string &text, char by) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, by);) parts.push_back(part);
    return parts;
}

// A path of mountinfo, in which a space is `\\040`.
std::string unescaped(const std::string &path) {
    std::string plain;
    for (size_t i = 0; i < path.size(); ++i) {
        const bool escaped = path[i] == '\\' && i + 3 < path.size();
        plain += escaped ? static_cast<char>(std::strtol(path.substr(i + 1, 3).c_str(), nullptr, 8)) : path[i];
        i += escaped ? 3 : 0;
    }
    return plain;
}

bool holds(const std::string &list, const std::string &word) {
    const std::vector<std::string> words = split(list, ',');
    return std::find(words.begin(), words.end(), word) != words.end();
}

// A hierarchy of cgroups: where it is mounted, and which of its cgroups is seen there.
struct mount {
    std::string point, top;
};

// The unified hierarchy (v2), or the one that has the controller `cpu` (v1).
bool find_mount(const std::string &root, bool unified, mount &found) {
    std::ifstream file(root + "/proc/self/mountinfo");
    for (std::string line; std::getline(file, line);) {
        const size_t dash = line.find(" - ");
        if (dash == std::string::npos) continue;
        const std::vector<std::string> mounted = split(line.substr(0, dash), ' ');
        const std::vector<std::string> type = split(line.substr(dash + 3), ' ');
        if (mounted.size() < 5 || type.size() < 3 || type[0] != (unified ? "cgroup2" : "cgroup")) continue;
        if (!unified && !holds(type[2], "cpu")) continue;
        found = {root + unescaped(mounted[4]), unescaped(mounted[3])};
        return true;
    }
    return false;
}

// The cgroup of this process in that hierarchy: a line of /proc/self/cgroup is `number:controllers:path`.
std::string own_cgroup(const std::string &root, bool unified) {
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        if (unified ? controllers.empty() : holds(controllers, "cpu")) return line.substr(second + 1);
    }
    return "";
}

// Whole CPUs that the quota of one cgroup pays for.
double quota_of(const std::string &folder, bool unified) {
    std::string quota;
    double period = 0;
    if (unified) {
        std::ifstream(folder + "/cpu.max") >> quota >> period;
    } else {
        std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
        std::ifstream(folder + "/cpu.cfs_period_us") >> period;
    }
    const double microseconds = std::strtod(quota.c_str(), nullptr);  // `max` and -1 are none
    return microseconds > 0 && period > 0 ? microseconds / period : INT_MAX;
}

// The cgroup's path from the top of what is mounted, or nothing where it is not below it.
std::string below(const std::string &top, const std::string &path) {
    const std::string start = top == "/" ? "" : top;
    const bool inside = path.compare(0, start.size(), start) == 0 && path.find("..") == std::string::npos;
    return inside && path.size() > start.size() && path[start.size()] == '/' ? path.substr(start.size()) : "";
}

// The least quota from the cgroup of this process up to the top of what is mounted.
double quota(const std::string &root, bool unified) {
    mount mounted;
    if (!find_mount(root, unified, mounted)) return INT_MAX;
    std::string path = below(mounted.top, own_cgroup(root, unified));
    double least = quota_of(mounted.point, unified);
    for (; path.size() > 1; path.erase(path.rfind('/')))
        least = std::min(least, quota_of(mounted.point + path, unified));
    return least;
}

#endif

}  // namespace

int usable_cpus(const std::string &root) {
#ifdef __linux__
    const double paid = std::min(quota(root, true), quota(root, false));
    return std::max(1, std::min(cpus_in_affinity(), static_cast<int>(paid)));
#else
    (void)root;
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#endif
}

int most_threads() {
    const char *given = std::getenv("LLAMACFFI_MAX_THREADS");
    if (!given || !*given) return usable_cpus();
    char *end = nullptr;
    const long number = std::strtol(given, &end, 10);
    if (*end || number < 1 || number > GGML_MAX_N_THREADS)
        throw std::invalid_argument("LLAMACFFI_MAX_THREADS should be a whole number from 1 to " +
                                    std::to_string(GGML_MAX_N_THREADS) + ", not '" + given + "': correct or unset it");
    return static_cast<int>(number);
}

}  // namespace llamacffi
