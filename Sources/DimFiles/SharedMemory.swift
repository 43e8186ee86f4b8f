import DimArchitecture
import CIsolation
import DimRuntime
import Glibc

/// Where things lie in the memory that a host shares with its isolated reader: a report, a slot for each parameter of the
/// schema, and room for a checkpoint's arrays, one behind the other in the order of their specs. Both sides compute the
/// places from the schema; nothing in the memory says where anything is or how long.
struct SharedLayout {
    /// Bytes at the start: `Report`.
    static let report = 64 * 1024
    private static let alignment = 64

    /// Offsets of the slots, in the order of `Schema.all`.
    private static let slots: [Int] = {
        var next = report
        return Schema.all.map { spec in
            defer { next = aligned(next + spec.bytes) }
            return next
        }
    }()
    private static let index = Dictionary(uniqueKeysWithValues: Schema.all.enumerated().map { ($1.name, $0) })
    private static let arrays = aligned(slots.last! + Schema.all.last!.bytes)

    /// The moments of all trainable parameters, and some for what is small.
    static let checkpointBytes =
        2 * 4 * Schema.all.filter(\.isTrainable).reduce(0) { $0 + $1.count } + 256 * 1024

    /// Of the whole memory, in pages of any size.
    static func size(isCheckpoint: Bool) -> Int {
        let bytes = arrays + (isCheckpoint ? checkpointBytes : 0)
        return (bytes + 0xffff) / 0x10000 * 0x10000
    }

    static func slot(_ spec: ParameterSpec) -> Int { slots[index[spec.name]!] }

    /// Offset and bytes of each array. nil where they do not fit.
    static func places(of specs: [ArraySpec]) -> [(offset: Int, bytes: Int)]? {
        var next = arrays
        let places = specs.map { spec in
            defer { next = aligned(next + spec.sharedBytes) }
            return (offset: next, bytes: spec.sharedBytes)
        }
        return next <= size(isCheckpoint: true) ? places : nil
    }

    private static func aligned(_ offset: Int) -> Int { (offset + alignment - 1) / alignment * alignment }
}

extension ArraySpec {
    /// Texts have their length before them.
    fileprivate var sharedBytes: Int {
        if case .text(let most) = kind { return 8 + most }
        return count * (kind.elementType?.size ?? 0)
    }
}

/// What a reader says of itself. The host believes none of it: see `IsolatedFile`.
struct Report {
    enum State: UInt32 {
        case absent = 0
        /// All is set up; the file is looked at from here on.
        case confined = 1
        case done = 2
    }

    var state = State.absent
    /// A `DimError.Code`, or 0.
    var status: UInt32 = 0
    /// The mask of those found.
    var networks: UInt32 = 0
    var message: [UInt8] = []

    private static let head = 16
    private static let mostMessage = SharedLayout.report - head

    func store(in memory: UnsafeMutableRawPointer) {
        let text = message.prefix(Report.mostMessage)
        memory.storeBytes(of: status, toByteOffset: 4, as: UInt32.self)
        memory.storeBytes(of: networks, toByteOffset: 8, as: UInt32.self)
        memory.storeBytes(of: UInt32(text.count), toByteOffset: 12, as: UInt32.self)
        for (index, byte) in text.enumerated() {
            memory.storeBytes(of: byte, toByteOffset: Report.head + index, as: UInt8.self)
        }
        memory.storeBytes(of: state.rawValue, toByteOffset: 0, as: UInt32.self)
    }

    init() {}

    /// From `SharedLayout.report` bytes that nobody changes any more. nil where they are no report.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == SharedLayout.report,
            let state = State(rawValue: bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
        else { return nil }
        self.state = state
        status = bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
        networks = bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        let length = bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self)
        guard length <= UInt32(Report.mostMessage) else { return nil }
        message = Array(bytes[Report.head..<Report.head + Int(length)])
    }
}
