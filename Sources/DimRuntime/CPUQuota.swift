import Glibc

/// How many cores a control group lets this process use at once: containers and batch systems bound the time of all its
/// threads together, and a thread more than that only waits.
package enum CPUQuota {
    /// Rounded up; nil where there is no bound. `root` is where /proc and the mounted groups lie, for tests.
    package static func cores(root: String = "") -> Int? {
        guard let groups = text(root + "/proc/self/cgroup"), let mounts = text(root + "/proc/self/mountinfo") else {
            return nil
        }
        var least: Double?
        for mount in mounts.split(separator: "\n").compactMap(Mount.init) {
            guard let group = groups.split(separator: "\n").compactMap({ mount.path(ofLine: $0) }).first else {
                continue
            }
            // A group is bounded by those above it, too.
            var path = group
            while true {
                let folder = root + mount.point + path
                if let quota = mount.isUnified ? unified(folder) : older(folder) { least = min(least ?? quota, quota) }
                guard let slash = path.lastIndex(of: "/") else { break }
                path = String(path[..<slash])
            }
        }
        return least.map { max(1, Int(min($0, 4096).rounded(.up))) }
    }

    /// One line of mountinfo: "32 31 0:29 /root /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu".
    private struct Mount {
        let root: String
        let point: String
        let isUnified: Bool

        init?(_ line: Substring) {
            let fields = line.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), dash >= 5, fields.count > dash + 3 else { return nil }
            isUnified = fields[dash + 1] == "cgroup2"
            guard isUnified || fields[dash + 1] == "cgroup" && fields[dash + 3].split(separator: ",").contains("cpu")
            else { return nil }
            root = fields[3] == "/" ? "" : String(fields[3])
            point = String(fields[4])
        }

        /// The process's group below `point`: of "0::/a/b", or of "4:cpu,cpuacct:/a/b" for the older kind. A container sees
        /// its own group as the mount's root.
        func path(ofLine line: Substring) -> String? {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3,
                isUnified ? fields[0] == "0" : fields[1].split(separator: ",").contains("cpu")
            else { return nil }
            let path = fields[2] == "/" ? "" : String(fields[2])
            if !root.isEmpty, path == root || path.hasPrefix(root + "/") { return String(path.dropFirst(root.count)) }
            return root.isEmpty ? path : ""
        }
    }

    /// cpu.max: "150000 100000", or "max 100000".
    private static func unified(_ folder: String) -> Double? {
        let words = text(folder + "/cpu.max")?.split(whereSeparator: \.isWhitespace) ?? []
        return words.count == 2 ? quota(words[0], words[1]) : nil
    }

    /// cpu.cfs_quota_us, -1 for none, and cpu.cfs_period_us.
    private static func older(_ folder: String) -> Double? {
        guard let quota = text(folder + "/cpu.cfs_quota_us"), let period = text(folder + "/cpu.cfs_period_us") else {
            return nil
        }
        return self.quota(
            quota.split(whereSeparator: \.isWhitespace).first ?? "",
            period.split(whereSeparator: \.isWhitespace).first ?? "")
    }

    private static func quota(_ time: Substring, _ period: Substring) -> Double? {
        guard let time = Double(time), let period = Double(period), time > 0, period > 0, (time / period).isFinite
        else { return nil }
        return time / period
    }

    /// A short file; nil where it cannot be read.
    private static func text(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 4096)
        while bytes.count < 1 << 20 {
            let count = read(descriptor, &part, part.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += part[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
