import DimRuntime
import Glibc
import Testing

/// Control groups as files in a folder of the test's own.
private func cores(_ files: [String: String], _ count: (String) -> Int? = CPUQuota.cores(root:)) -> Int? {
    var template = Array("/tmp/libdim-quota-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { return -1 }
    let root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    var made = [root]
    defer { made.reversed().forEach { _ = remove($0) } }
    for (path, text) in files {
        var folder = root
        for part in path.split(separator: "/").dropLast() {
            folder += "/" + part
            if mkdir(folder, 0o700) == 0 { made.append(folder) }
        }
        guard let file = fopen(root + path, "w") else { return -1 }
        fputs(text, file)
        fclose(file)
        made.append(root + path)
    }
    return count(root)
}

private let unifiedMount = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
private let olderMount =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    + "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"

@Test(
    "cgroup v2: the least of the group's and those above it, rounded up",
    arguments: [
        ("150000 100000", "max 100000", 2), ("max 100000", "300000 100000", 3), ("100000 100000", "300000 100000", 1),
        ("400000 100000", "25000 100000", 1), ("max 100000", "max 100000", nil), ("nonsense", "", nil),
        ("0 100000", "200000 0", nil),
    ] as [(String, String, Int?)])
func unified(own: String, above: String, expected: Int?) {
    let found = cores([
        "/proc/self/cgroup": "0::/box/job\n", "/proc/self/mountinfo": unifiedMount,
        "/sys/fs/cgroup/box/job/cpu.max": own + "\n", "/sys/fs/cgroup/box/cpu.max": above + "\n",
    ])
    #expect(found == expected)
}

@Test(
    "cgroup v1", arguments: [("200000", 2), ("250000", 3), ("-1", nil), ("1000", 1)] as [(String, Int?)])
func older(quota: String, expected: Int?) {
    let found = cores([
        "/proc/self/cgroup": "4:memory:/elsewhere\n3:cpu,cpuacct:/job\n0::/\n", "/proc/self/mountinfo": olderMount,
        "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": quota + "\n",
        "/sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
    ])
    #expect(found == expected)
}

@Test("In a container the mount's root is the group itself")
func container() {
    let mount = "32 31 0:29 /docker/17 /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n"
    let files = [
        "/proc/self/cgroup": "3:cpu:/docker/17\n", "/proc/self/mountinfo": mount,
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    ]
    #expect(cores(files) == 2)
    #expect(cores(files.merging(["/proc/self/cgroup": "3:cpu:/\n"]) { $1 }) == 2)
}

@Test("No control groups, no bound")
func none() {
    #expect(cores([:]) == nil)
    #expect(cores(["/proc/self/cgroup": "", "/proc/self/mountinfo": "\n - \n1 2 3\n"]) == nil)
}

@Test("The default number of threads knows the bound")
func threads() {
    let files = [
        "/proc/self/cgroup": "0::/a\n", "/proc/self/mountinfo": unifiedMount,
        "/sys/fs/cgroup/a/cpu.max": "100000 100000\n",
    ]
    #expect(cores(files, ThreadPool.cores(root:)) == 1)
}
