import DimArchitecture
import CIsolation
import DimRuntime
import Glibc

/// The host's side of reading an untrusted file: it is opened here, read by another process (`IsolatedReader`), and
/// copied from shared memory after that process has ended. Each value is copied first and checked then; none is
/// trusted.
struct IsolatedFile {
    /// What a reader is given, as the arguments of its command.
    struct Order {
        static let ownVersion =
            "libdim isolated reader 2, \(SharedLayout(.notebook, isCheckpoint: true).size) bytes"
        private static let weights = "weights"

        let version: String
        /// The checkpoint's kind; nil for weights.
        let kind: String?
        /// How long the reader may take.
        let seconds: Double
        let expected: Expectation
        /// For messages: the file is open already, and the caller's limit is for both readers.
        let path: FilePath
        let limit: Double

        init(kind: String?, seconds: Double, of limit: Double, _ expected: Expectation, path: FilePath) {
            (version, self.kind, self.seconds, self.limit) = (Order.ownVersion, kind, seconds, limit)
            (self.expected, self.path) = (expected, path)
        }

        init?(_ arguments: [String]) {
            guard arguments.count == 6, let seconds = Double(arguments[2]), (0...1e6).contains(seconds),
                let networks = UInt32(arguments[3])
            else { return nil }
            version = arguments[0]
            kind = arguments[1] == Order.weights ? nil : arguments[1]
            (self.seconds, limit) = (seconds, seconds)
            switch arguments[4] {
            case "any": expected = Expectation(.any, networks: networks)
            case "notebook": expected = Expectation(.notebookAlone, networks: networks)
            default:
                guard let architecture = try? Architecture.parse(Array(arguments[4].utf8)) else { return nil }
                expected = Expectation(.exactly(architecture), networks: networks)
            }
            path = FilePath(arguments[5])
        }

        var arguments: [String] {
            let architecture =
                switch expected.architectures {
                case .any: "any"
                case .notebookAlone: "notebook"
                case .exactly(let architecture): architecture.json
                }
            return [
                version, kind ?? Order.weights, String(seconds), String(expected.networks), architecture,
                path.description,
            ]
        }

        /// What the shared memory has room for; nil where the file says what it is, and nothing more is read of it.
        var layoutArchitecture: Architecture? {
            switch expected.architectures {
            case .any: nil
            case .notebookAlone: .notebook
            case .exactly(let architecture): architecture
            }
        }
    }

    static let defaultSeconds = 60.0

    private let path: FilePath
    private let shared: Descriptor
    private let layout: SharedLayout
    /// Of the weights.
    let architecture: Architecture
    private let report: Report

    private final class Descriptor {
        let number: Int32
        init(_ number: Int32) { self.number = number }
        deinit { close(number) }
    }

    /// Runs the reader: twice where any architecture will do, first to learn which it is. `seconds`: how long that may
    /// take in all.
    /// Throws what the reader found wrong with the file, or how it ended.
    init(path: FilePath, kind: String?, _ expected: Expectation, seconds: Double?) throws {
        let input = try InputFile(path: path)
        let limit = seconds ?? IsolatedFile.defaultSeconds
        guard case .any = expected.architectures else {
            try self.init(input, Order(kind: kind, seconds: limit, of: limit, expected, path: path))
            return
        }
        let begun = IsolatedFile.now
        let first = try IsolatedFile(input, Order(kind: nil, seconds: limit, of: limit, expected, path: path))
        // Deflate makes at most 1,032 bytes of one, and a float of 16 bits two.
        let found = try first.networks()
        let bytes = found.flatMap(first.architecture.parameters(of:)).reduce(0) { $0 + $1.bytes }
        guard bytes / (2 * 1032) <= input.size else {
            throw DimError(
                .fileContent,
                "\(path): its networks have \(bytes) bytes of weights, more than a file of \(input.size) bytes can hold"
            )
        }
        let second = Expectation(.exactly(first.architecture), networks: first.report.networks)
        let left = max(0, limit - (IsolatedFile.now - begun))
        try self.init(input, Order(kind: kind, seconds: left, of: limit, second, path: path))
    }

    /// Seconds of the clock that a reader's time is taken with.
    private static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    private init(_ input: InputFile, _ order: Order) throws {
        let path = order.path
        self.path = path
        layout = SharedLayout(order)
        let size = layout.size
        let made = withoutSizeSignal { () -> (number: Int32, failure: Int32) in
            let number = dim_isolation_make_shared(size)
            return (number, errno)
        }
        guard made.number >= 0 else { throw IsolatedFile.notStarted(path, made.failure) }
        shared = Descriptor(made.number)
        let end = try IsolatedFile.run(order, input, shared)

        var scratch = ByteBuffer()
        let bytes = try scratch.reserve(SharedLayout.report)
        let isRead = readFully(shared.number, bytes, count: SharedLayout.report, at: 0) == 0
        let report = isRead ? Report(UnsafeRawBufferPointer(start: bytes, count: SharedLayout.report)) : nil
        if let error = IsolatedFile.failure(end, report, order) { throw error }
        guard let report, report.state == .done else { throw IsolatedFile.misbehaved(path, "left no report") }
        guard report.status == 0 else { throw IsolatedFile.reported(report, path) }
        architecture = try IsolatedFile.described(report, order)
        self.report = report
    }

    /// The architecture that the reader reports, parsed and compared anew.
    private static func described(_ report: Report, _ order: Order) throws -> Architecture {
        guard report.message.count <= Limits.bytes, let found = try? Architecture.parse(report.message) else {
            throw misbehaved(order.path, "returned an invalid description")
        }
        return try order.expected.accepted(found, "its description", order.path)
    }

    private static func run(_ order: Order, _ input: InputFile, _ shared: Descriptor) throws -> dim_isolation_end {
        var program = dim_isolation_find_program()
        defer { dim_isolation_free_program(&program) }
        if let error = obstacle(program, order.path) { throw error }
        let arguments = order.arguments.map { strdup($0) }
        defer { arguments.forEach { free($0) } }
        guard arguments.allSatisfy({ $0 != nil }) else { throw notStarted(order.path, ENOMEM) }
        let pointers = arguments.map { UnsafePointer($0) }
        // The input and the descriptor stay open until the reader has ended.
        return withExtendedLifetime((input, shared)) {
            dim_isolation_run(
                &program, pointers, pointers.count, input.descriptor, shared.number, order.seconds)
        }
    }

    private static func obstacle(_ program: dim_isolation_program, _ path: FilePath) -> DimError? {
        let culprit = program.culprit.map { FilePath(cString: $0).description } ?? ""
        let why: String
        switch program.obstacle {
        case DIM_ISOLATION_NONE: return nil
        case DIM_ISOLATION_NO_MEMORY: return notStarted(path, ENOMEM)
        case DIM_ISOLATION_LINKED:
            why = "that takes libdim.so and a dynamic loader, and here libdim is linked into the program"
        case DIM_ISOLATION_NO_LOADER:
            why = "that takes a dynamic loader, and this program runs without one"
        case DIM_ISOLATION_OTHER_ROOT:
            why =
                "the process has another root folder than when it loaded libdim, where other files may have the "
                + "libraries' names; read the file before chroot, or load libdim behind it"
        case DIM_ISOLATION_UNFIT_NAME:
            why =
                "the dynamic loader cannot be given \(culprit), which libdim uses, since its path holds a blank, a colon "
                + "or a dollar sign; move it"
        default: why = "\(culprit), which this process has loaded, cannot be read any more"
        }
        return DimError(.io, "cannot read \(path) in a separate process: \(why)")
    }

    // MARK: How it ended

    private static func failure(_ end: dim_isolation_end, _ report: Report?, _ order: Order) -> DimError? {
        let path = order.path
        if end.error != 0 { return notStarted(path, end.error) }
        if end.timed_out != 0 || end.signal == SIGXCPU {
            return DimError(
                .fileFormat,
                "\(path): not read within \(order.limit) s, the isolated reader was ended: the file is made to do harm, "
                    + "or the machine is very slow; `timeout` sets another limit")
        }
        if end.signal == SIGKILL {
            return DimError(
                .outOfMemory,
                "\(path): the isolated reader was killed from outside (signal 9), as the system does when memory runs out"
            )
        }
        let isConfined = report.map { $0.state != .absent } ?? true
        if end.signal != 0, isConfined {
            let name = String(cString: strsignal(end.signal))
            return DimError(
                .fileFormat,
                "\(path): the file ended the isolated reader by signal \(end.signal) (\(name)): it is damaged, "
                    + "or made to do harm; use another copy of the file")
        }
        switch end.signal == 0 ? IsolatedReader.ExitStatus(rawValue: end.exit_status) : nil {
        case .done: return nil
        case .outOfMemory: return notStarted(path, ENOMEM)
        case .otherVersion:
            return DimError(
                .io,
                "cannot read \(path) in a separate process: the file of libdim.so was replaced since this program "
                    + "loaded it; restart the program")
        default:
            let how = end.signal != 0 ? "signal \(end.signal)" : "exit status \(end.exit_status)"
            return DimError(
                .io,
                "cannot read \(path) in a separate process: the dynamic loader does not start libdim.so there "
                    + "(\(how))")
        }
    }

    private static func notStarted(_ path: FilePath, _ failure: Int32) -> DimError {
        let why = failure == EFBIG ? ", for which the limit of the size of files, ulimit -f, is too small" : ""
        let error = ioError("cannot read \(path) in a separate process\(why)", failure)
        return failure == ENOMEM ? DimError(.outOfMemory, error.message) : error
    }

    private static func misbehaved(_ path: FilePath, _ how: String) -> DimError {
        DimError(
            .fileFormat,
            "\(path): the isolated reader \(how): the file is made to do harm; use another copy of the file")
    }

    /// The reader's own words, of which nothing is believed but that they are for a person.
    private static func reported(_ report: Report, _ path: FilePath) -> DimError {
        let known: [DimError.Code] = [.io, .fileFormat, .fileContent, .outOfMemory, .internal]
        guard let code = known.first(where: { $0.rawValue == report.status }) else {
            return misbehaved(path, "failed in an unknown way")
        }
        let lines = String(decoding: report.message, as: UTF8.self).split(separator: "\n")
        return DimError(code, lines.map { printable(String($0), most: SharedLayout.report) }.joined(separator: "\n"))
    }

    // MARK: What it read

    func networks() throws -> [Network] {
        let found = architecture.networks.filter { report.networks & $0.rawValue != 0 }
        guard !found.isEmpty, found.reduce(0, { $0 | $1.rawValue }) == report.networks else {
            throw IsolatedFile.misbehaved(path, "unknown networks")
        }
        return found
    }

    /// Fills the floats that `place` names; returns the counters.
    func weights(_ networks: [Network], place: WeightsReader.Place) throws -> WeightsReader.Result {
        let specs = networks.flatMap(architecture.parameters(of:))
        let places = try place(networks, specs)
        var counters = [Int64](repeating: 0, count: specs.count)
        for (index, spec) in specs.enumerated() {
            let offset = layout.slot(spec)
            if let floats = places[index] {
                try copy(offset, into: floats, bytes: spec.bytes)
                guard ParameterRules.fault(spec, floats) == nil
                else { throw IsolatedFile.misbehaved(path, "gave values of \(spec.name) that it had to refuse") }
            } else {
                try copy(offset, into: &counters[index], bytes: spec.bytes)
                guard ParameterRules.fault(spec, counters[index]) == nil
                else { throw IsolatedFile.misbehaved(path, "gave a negative counter") }
            }
        }
        return WeightsReader.Result(
            architecture: architecture, networks: networks, counters: counters, classNames: try classNames(networks))
    }

    private func classNames(_ networks: [Network]) throws -> [String] {
        guard layout.names > 0, networks.contains(.classifier) else { return [] }
        var length: UInt64 = 0
        try copy(layout.names, into: &length, bytes: 8)
        guard length > 0 else { return [] }
        let refused = IsolatedFile.misbehaved(path, "gave names of classes that it had to refuse")
        guard length <= UInt64(layout.mostNames) else { throw refused }
        var text = [UInt8](repeating: 0, count: Int(length))
        try copy(layout.names + 8, into: &text, bytes: text.count)
        guard let names = try? FileLabels.names(text), names.count == architecture.classifier?.classes else {
            throw refused
        }
        return names
    }

    func arrays(_ networks: [Network], _ checkpoint: CheckpointArrays) throws -> [String: NamedArray] {
        var specs = checkpoint.header
        specs += try checkpoint.details(arrays(specs))
        specs += try checkpoint.others(architecture, networks, arrays(specs))
        return try arrays(specs)
    }

    private func arrays(_ specs: [ArraySpec]) throws -> [String: NamedArray] {
        guard let places = layout.places(of: specs) else {
            throw DimError(.internal, "\(path): the checkpoint's arrays do not fit the shared memory")
        }
        var arrays: [String: NamedArray] = [:]
        for (spec, place) in zip(specs, places) {
            arrays[spec.name] = try array(spec, at: place.offset, bytes: place.bytes)
        }
        return arrays
    }

    private func array(_ spec: ArraySpec, at offset: Int, bytes: Int) throws -> NamedArray {
        let refused = IsolatedFile.misbehaved(path, "gave a checkpoint/\(spec.name) that it had to refuse")
        switch spec.kind {
        case .float32:
            let buffer = try Buffer(uninitialized: spec.count)
            try copy(offset, into: buffer.pointer, bytes: bytes)
            guard Conversion.areFinite(buffer.pointer, count: buffer.count) else { throw refused }
            return .float32(buffer, shape: spec.shape)
        case .float64:
            let values = try elements(spec, zero: 0.0, at: offset)
            guard values.allSatisfy(\.isFinite) else { throw refused }
            return .float64(values, shape: spec.shape)
        case .int64: return try .int64(elements(spec, zero: 0, at: offset), shape: spec.shape)
        case .uint32: return try .uint32(elements(spec, zero: 0, at: offset), shape: spec.shape)
        case .text(let most):
            var memory = [UInt8](repeating: 0, count: bytes)
            try copy(offset, into: &memory, bytes: bytes)
            let length = memory.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
            guard length <= UInt64(most) else { throw refused }
            let text = memory[8..<8 + Int(length)]
            guard !text.contains(0), let valid = String(validating: text, as: UTF8.self) else { throw refused }
            return .text(valid)
        }
    }

    private func elements<Element: BitwiseCopyable>(
        _ spec: ArraySpec, zero: Element, at offset: Int
    ) throws -> [Element] {
        var values = [Element](repeating: zero, count: spec.count)
        try values.withUnsafeMutableBytes { try copy(offset, into: $0.baseAddress!, bytes: $0.count) }
        return values
    }

    /// By a system call, which cannot fault whatever has become of the memory.
    private func copy(_ offset: Int, into target: UnsafeMutableRawPointer, bytes: Int) throws {
        let failure = readFully(shared.number, target, count: bytes, at: Int64(offset))
        guard failure == 0 else { throw ioError("cannot take over what was read of \(path)", failure) }
    }
}
