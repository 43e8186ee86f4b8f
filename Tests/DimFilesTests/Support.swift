import DimArchitecture
import DimRuntime
import DimFiles
import Glibc
import Testing

/// All suites hang below this one and run one after the other: some call libhdf5 themselves, which takes no locks.
@Suite(.serialized) enum WeightsTests {}

let notebookNetworks = Architecture.notebook.networks

/// A folder that goes with the test.
final class Folder {
    let path: String

    init() {
        var template = Array("/tmp/dim-weights-XXXXXX".utf8CString)
        path = String(cString: mkdtemp(&template))
    }

    func file(_ name: String) -> String { path + "/" + name }

    var names: [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    deinit {
        for name in names { unlink(file(name)) }
        rmdir(path)
    }
}

/// Paths of these tests are text.
extension WeightsFile {
    static func read(path: String) throws -> StateDict { try read(path: FilePath(path)) }

    static func write(_ state: StateDict, path: String, extra: [String: NamedArray] = [:]) throws {
        try write(state, path: FilePath(path), extra: extra)
    }

    static func readCheckpoint(
        path: String, kind: String, arrays: CheckpointArrays
    ) throws -> (StateDict, [String: NamedArray]) {
        try readCheckpoint(path: FilePath(path), kind: kind, arrays: arrays)
    }
}

func randomState(_ networks: [Network], seed: UInt64) throws -> StateDict {
    var random = MersenneTwister(seed: seed)
    let values = try networks.flatMap(Architecture.notebook.parameters(of:)).map { spec -> ParameterValue in
        if spec.isInteger { return .counter(Int64(seed) << 33 + 7) }
        let buffer = try Buffer(uninitialized: spec.count)
        for i in 0..<spec.count { buffer.pointer[i] = random.uniform() }
        return .floats(buffer)
    }
    return StateDict(networks: networks, values: values)
}

func expectSame(_ a: StateDict, _ b: StateDict, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(a.networks == b.networks, sourceLocation: sourceLocation)
    for (spec, (x, y)) in zip(a.specs, zip(a.values, b.values)) {
        let same: Bool
        switch (x, y) {
        case (.floats(let x), .floats(let y)):
            same = x.count == y.count && memcmp(x.pointer, y.pointer, spec.bytes) == 0
        case (.counter(let x), .counter(let y)): same = x == y
        default: same = false
        }
        #expect(same, "\(spec.name)", sourceLocation: sourceLocation)
    }
}

/// The error of `body`, of which `code` is expected and that `words` occur in its message.
func expectError(
    _ code: DimError.Code, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    do {
        try body()
        Issue.record("no error", sourceLocation: sourceLocation)
    } catch let error as DimError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        for word in words { #expect(error.message.contains(word), "\(error)", sourceLocation: sourceLocation) }
    } catch {
        Issue.record("\(error)", sourceLocation: sourceLocation)
    }
}

/// Plain threads; each gets its number.
enum Threads {
    private final class Task {
        let body: (Int) throws -> Void
        let number: Int
        var failed = false
        init(_ number: Int, _ body: @escaping (Int) throws -> Void) {
            self.number = number
            self.body = body
        }
    }

    /// How many of `count` threads threw.
    static func run(_ count: Int, _ body: @escaping (Int) throws -> Void) -> Int {
        let tasks = (0..<count).map { Task($0, body) }
        let threads = tasks.map { task in
            var thread = pthread_t()
            pthread_create(
                &thread, nil,
                { pointer in
                    let task = Unmanaged<Task>.fromOpaque(pointer!).takeUnretainedValue()
                    do { try task.body(task.number) } catch { task.failed = true }
                    return nil
                }, Unmanaged.passUnretained(task).toOpaque())
            return thread
        }
        for thread in threads { pthread_join(thread, nil) }
        return tasks.filter(\.failed).count
    }
}
