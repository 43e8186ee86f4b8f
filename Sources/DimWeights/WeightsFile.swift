import DimTensor
import Glibc

/// Weights and checkpoints in HDF5 files. What is accepted and refused, and why: docs/hdf5.md.
package enum WeightsFile {
    /// The version of libhdf5 that is in use.
    package static var libraryVersion: String { HDF5.version }

    /// Reads all networks that the file holds. Throws `.io`, `.fileFormat`, `.fileContent` or `.outOfMemory`.
    package static func read(path: String) throws -> StateDict {
        let memory = Memory()
        let result = try WeightsReader.read(InputFile(path: path), place: memory.place)
        return memory.stateDict(result)
    }

    /// Reads a file that `write` made with `extra`: weights, the arrays of `header`, and exactly those others that `arrays`
    /// names for the networks and the header found. Throws as `read`.
    package static func readCheckpoint(
        path: String, header: [ArraySpec],
        arrays: (_ networks: [Network], _ header: [String: NamedArray]) throws -> [ArraySpec]
    ) throws -> (StateDict, [String: NamedArray]) {
        let memory = Memory()
        let (result, extra) = try WeightsReader.readCheckpoint(
            InputFile(path: path), header: header, arrays: arrays, place: memory.place)
        return (memory.stateDict(result), extra)
    }

    /// Writes the canonical layout, atomically: the file appears whole under its name, or not at all. `extra` goes into the
    /// group `checkpoint`, which `read` passes over. Names in `extra` may not contain '/'.
    /// Throws `.io`, `.notFinite` (NaN or infinity among the values) or `.outOfMemory`.
    package static func write(_ state: StateDict, path: String, extra: [String: NamedArray] = [:]) throws {
        try AtomicFile.write(path: path) { descriptor in
            try withoutSizeSignal {
                try WeightsWriter.write(state, extra: extra, to: descriptor, path: path)
            }
        }
    }

    /// Collects the buffers that the reader fills.
    private final class Memory {
        private var buffers: [Buffer?] = []

        func place(_ networks: [Network], _ specs: [ParameterSpec]) throws -> [UnsafeMutablePointer<Float>?] {
            buffers = try specs.map { $0.isInteger ? nil : try Buffer(uninitialized: $0.count) }
            buffers.forEach { $0.map(Memory.adviseLargePages) }
            return buffers.map { $0?.pointer }
        }

        /// Fresh memory costs a page fault per page: with 4 KB pages half the time of opening a file.
        private static func adviseLargePages(_ buffer: Buffer) {
            let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
            let start = (UInt(bitPattern: buffer.pointer) + page - 1) / page * page
            let end = UInt(bitPattern: buffer.pointer + buffer.count) / page * page
            if end > start, end - start >= 4 << 20, let base = UnsafeMutableRawPointer(bitPattern: start) {
                _ = madvise(base, Int(end - start), MADV_HUGEPAGE)
            }
        }

        func stateDict(_ result: WeightsReader.Result) -> StateDict {
            let values = zip(buffers, result.counters).map { buffer, counter in
                buffer.map(ParameterValue.floats) ?? .counter(counter)
            }
            return StateDict(networks: result.networks, values: values)
        }
    }
}
