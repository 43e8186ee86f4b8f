import DimArchitecture
import CIsolation
import DimRuntime
import Glibc

/// The layout of the memory that a host shares with its isolated reader: a report, a slot for each parameter of an
/// architecture, class names, and room for a checkpoint's arrays, one after another in the order of their
/// specs. Both sides compute the layout from the architecture; the memory itself has no offsets or lengths.
struct SharedLayout {
    /// Bytes at the start: `Report`.
    static let report = 64 * 1024
    private static let alignment = 64

    /// Of the whole memory, in pages of any size.
    let size: Int
    /// The moments of all trainable parameters, and some for what is small; 0 for weights alone.
    let checkpointBytes: Int
    /// Bytes of the largest parameter.
    let largest: Int
    /// Where the names of the classes are: a length of 8 bytes, and a text of at most `mostNames`. 0 for none.
    let names: Int
    let mostNames: Int

    /// Offsets of the slots, by the parameters' names.
    private let slots: [String: Int]
    private let arrays: Int

    /// architecture: nil where nothing is read but what the file says of itself. networks: a mask of those that are read, 0
    /// for all.
    init(_ architecture: Architecture?, networks: UInt32 = 0, isCheckpoint: Bool) {
        let specs = architecture.map { ParameterNames($0, networks: networks).specs } ?? []
        var slots: [String: Int] = [:]
        var next = SharedLayout.report
        for spec in specs {
            slots[spec.name] = next
            next = SharedLayout.aligned(next + spec.bytes)
        }
        self.slots = slots
        largest = specs.map(\.bytes).max() ?? 0
        let classes = architecture?.classifier?.classes ?? 0
        // A character may be escaped by another one; quotes and a comma come to each name.
        mostNames = min(FileLabels.mostNames, classes * (2 * ClassNames.mostBytes + 3) + 2)
        names = classes == 0 ? 0 : next
        if classes > 0 { next = SharedLayout.aligned(next + 8 + mostNames) }
        arrays = next
        let moments = specs.filter(\.isTrainable).reduce(0) { $0 + $1.count }
        checkpointBytes = isCheckpoint && architecture != nil ? 2 * 4 * moments + 256 * 1024 : 0
        size = (arrays + checkpointBytes + 0xffff) / 0x10000 * 0x10000
    }

    init(_ order: IsolatedFile.Order) {
        self.init(
            order.layoutArchitecture, networks: order.expected.networks, isCheckpoint: order.kind != nil)
    }

    func slot(_ spec: ParameterSpec) -> Int { slots[spec.name]! }

    /// Offset and bytes of each array. nil where they do not fit.
    func places(of specs: [ArraySpec]) -> [(offset: Int, bytes: Int)]? {
        var next = arrays
        let places = specs.map { spec in
            defer { next = SharedLayout.aligned(next + spec.sharedBytes) }
            return (offset: next, bytes: spec.sharedBytes)
        }
        return next <= size ? places : nil
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
    /// What went wrong; else the architecture's description.
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
