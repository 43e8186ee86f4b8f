import DimArchitecture
import CIsolation
import DimRuntime
import Glibc

/// The isolated reader's side: a process, started by the host (`IsolatedFile`), that reads one open file into shared
/// memory with the same checks as the host's own reader. A crash here does not affect the host.
package enum IsolatedReader {
    /// How the process ends where it has not come to a report.
    enum ExitStatus: Int32 {
        case done = 0
        case usage = 1
        /// Another version of the library than the host's.
        case otherVersion = 2
        case outOfMemory = 3
        case noLimits = 4
    }

    /// Beyond the shared memory: program, libraries, names of many classes.
    private static let working = 448 << 20

    /// `arguments`: the program, then those of `IsolatedFile.Order`. `checkpoints` knows a checkpoint's arrays by its kind.
    package static func main(
        _ arguments: [String], checkpoints: (_ kind: String, _ path: FilePath) -> CheckpointArrays?
    ) -> Int32 {
        guard let order = IsolatedFile.Order(Array(arguments.dropFirst())) else { return ExitStatus.usage.rawValue }
        guard order.version == IsolatedFile.Order.ownVersion else { return ExitStatus.otherVersion.rawValue }
        let checkpoint = order.kind.flatMap { checkpoints($0, order.path) }
        guard (checkpoint == nil) == (order.kind == nil) else { return ExitStatus.otherVersion.rawValue }

        let layout = SharedLayout(order)
        let mapped = mmap(nil, layout.size, PROT_READ | PROT_WRITE, MAP_SHARED, Int32(DIM_ISOLATION_SHARED), 0)
        guard let memory = mapped, memory != MAP_FAILED else { return ExitStatus.outOfMemory.rawValue }
        // What the filter forbids is done before: libhdf5 and the Swift runtime look around when they start.
        guard HDF5.version != "unknown",
            let input = try? InputFile(descriptor: Int32(DIM_ISOLATION_INPUT), path: order.path),
            (try? HDF5.exclusively { FileDriver(descriptor: input.descriptor, size: input.size) != nil }) == true
        else { return ExitStatus.usage.rawValue }
        // Decoding the largest array, stored as one chunk of float64, takes memory, too.
        let bytes = layout.size + layout.checkpointBytes + 4 * layout.largest + working
        guard dim_isolation_confine(bytes, UInt32(order.seconds.rounded(.up))) == 0
        else { return ExitStatus.noLimits.rawValue }
        var report = Report()
        report.state = .confined
        report.store(in: memory)
        do {
            let (architecture, networks) = try read(input, order.expected, checkpoint, layout, into: memory)
            report.networks = networks
            report.message = Array(architecture.json.utf8)
        } catch let error as DimError {
            report.status = error.code.rawValue
            report.message = Array(error.message.utf8)
        } catch {
            report.status = DimError.Code.internal.rawValue
            report.message = Array("\(error)".utf8)
        }
        report.state = .done
        report.store(in: memory)
        return ExitStatus.done.rawValue
    }

    private static func mask(_ networks: [Network]) -> UInt32 { networks.reduce(0) { $0 | $1.rawValue } }

    private static func read(
        _ input: InputFile, _ expected: Expectation, _ checkpoint: CheckpointArrays?, _ layout: SharedLayout,
        into memory: UnsafeMutableRawPointer
    ) throws -> (Architecture, networks: UInt32) {
        if case .any = expected.architectures {
            let (architecture, networks) = try WeightsReader.describe(input, expected)
            return (architecture, mask(networks))
        }
        let place: WeightsReader.Place = { _, specs in
            specs.map { spec in
                spec.isInteger
                    ? nil : (memory + layout.slot(spec)).bindMemory(to: Float.self, capacity: spec.count)
            }
        }
        let result: WeightsReader.Result
        if let checkpoint {
            var specs: [ArraySpec] = []
            let arrays: [String: NamedArray]
            (result, arrays) = try WeightsReader.readCheckpoint(
                input, expected,
                CheckpointArrays(header: checkpoint.header) { header in
                    specs = checkpoint.header + (try checkpoint.details(header))
                    return Array(specs[checkpoint.header.count...])
                } others: { architecture, networks, header in
                    let others = try checkpoint.others(architecture, networks, header)
                    specs += others
                    return others
                }, place: place)
            guard let places = layout.places(of: specs) else {
                throw DimError(.internal, "\(input.path): the checkpoint's arrays do not fit the shared memory")
            }
            for (spec, place) in zip(specs, places) { arrays[spec.name]?.store(at: memory + place.offset) }
        } else {
            result = try WeightsReader.read(input, expected, place: place)
        }
        let specs = result.networks.flatMap(result.architecture.parameters(of:))
        for (spec, counter) in zip(specs, result.counters) where spec.isInteger {
            memory.storeBytes(of: counter, toByteOffset: layout.slot(spec), as: Int64.self)
        }
        if layout.names > 0, !result.classNames.isEmpty {
            let text = ClassNames.json(result.classNames)
            guard text.utf8.count <= layout.mostNames else {
                throw DimError(.fileContent, "\(input.path): the names of its classes are too long together")
            }
            NamedArray.text(text).store(at: memory + layout.names)
        }
        return (result.architecture, mask(result.networks))
    }
}

extension NamedArray {
    /// Of the type and shape that its spec says: the reader has compared them.
    fileprivate func store(at memory: UnsafeMutableRawPointer) {
        func copy<Element>(_ values: [Element]) {
            values.withUnsafeBytes { if let base = $0.baseAddress { memcpy(memory, base, $0.count) } }
        }
        switch self {
        case .float32(let buffer, _): memcpy(memory, buffer.pointer, 4 * buffer.count)
        case .float64(let values, _): copy(values)
        case .int64(let values, _): copy(values)
        case .uint32(let values, _): copy(values)
        case .text(let text):
            memory.storeBytes(of: UInt64(text.utf8.count), as: UInt64.self)
            for (index, byte) in text.utf8.enumerated() {
                memory.storeBytes(of: byte, toByteOffset: 8 + index, as: UInt8.self)
            }
        }
    }
}
