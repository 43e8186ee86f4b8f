import DimArchitecture
import DimRuntime

/// Weights in HDF5 and safetensors files, checkpoints in HDF5 files. What is accepted and refused, and why: docs/hdf5.md and
/// docs/safetensors.md.
package enum WeightsFile {
    /// The version of libhdf5 that is in use.
    package static var libraryVersion: String { HDF5.version }

    /// Who reads: this process, or an isolated one, which a malicious file may crash without harm.
    package enum Reader {
        case here
        /// seconds: how long it may take; nil for what it is by default.
        case isolated(seconds: Double? = nil)
    }

    /// Reads all networks that the file holds, and that are expected. Throws `.io`, `.fileFormat`, `.fileContent` or
    /// `.outOfMemory`.
    package static func read(
        path: FilePath, _ expected: Expectation = Expectation(.notebookAlone), by reader: Reader = .here
    ) throws -> StateDict {
        let memory = Memory()
        switch reader {
        case .here:
            return memory.stateDict(try WeightsReader.read(InputFile(path: path), expected, place: memory.place))
        case .isolated(let seconds):
            let file = try IsolatedFile(path: path, kind: nil, expected, seconds: seconds)
            return memory.stateDict(try file.weights(file.networks(), place: memory.place))
        }
    }

    /// Reads a file that `write` made with `extra`: weights, and exactly those arrays that `arrays` names. `kind` is what an
    /// isolated reader finds `arrays` by. Throws as `read`.
    package static func readCheckpoint(
        path: FilePath, kind: String, arrays: CheckpointArrays,
        _ expected: Expectation = Expectation(.notebookAlone), by reader: Reader = .here
    ) throws -> (StateDict, [String: NamedArray]) {
        let memory = Memory()
        switch reader {
        case .here:
            let (result, extra) = try WeightsReader.readCheckpoint(
                InputFile(path: path), expected, arrays, place: memory.place)
            return (memory.stateDict(result), extra)
        case .isolated(let seconds):
            let file = try IsolatedFile(path: path, kind: kind, expected, seconds: seconds)
            let networks = try file.networks()
            let extra = try file.arrays(networks, arrays)
            return (memory.stateDict(try file.weights(networks, place: memory.place)), extra)
        }
    }

    /// Writes the canonical layout, atomically: the file appears whole under its name, or not at all. `extra` goes into the
    /// group `checkpoint`, which `read` passes over. Names in `extra` may not contain '/'.
    /// Throws `.io`, `.notFinite` (NaN or infinity among the values) or `.outOfMemory`.
    package static func write(_ state: StateDict, path: FilePath, extra: [String: NamedArray] = [:]) throws {
        try AtomicFile.write(path: path) { descriptor in
            try withoutSizeSignal {
                try WeightsWriter.write(state, extra: extra, to: descriptor, path: path)
            }
        }
    }

    /// Writes weights as safetensors, atomically as `write`; `metadata` is written to the file's header, beside architecture and
    /// names of classes. Throws as `write`, and `.tooLarge` where the header would be larger than one that is read.
    package static func writeSafetensors(
        _ state: StateDict, path: FilePath, metadata: [String: String] = [:]
    ) throws {
        var metadata = metadata
        for label in FileLabels.texts(state) { metadata[label.name] = label.text }
        try AtomicFile.write(path: path) { descriptor in
            try withoutSizeSignal {
                try SafetensorsWriter.write(state, metadata: metadata, to: descriptor, path: path)
            }
        }
    }

    /// Collects the buffers that the reader fills.
    private final class Memory {
        private var buffers: [Buffer?] = []

        func place(_ networks: [Network], _ specs: [ParameterSpec]) throws -> [UnsafeMutablePointer<Float>?] {
            buffers = try specs.map { $0.isInteger ? nil : try Buffer(uninitialized: $0.count) }
            return buffers.map { $0?.pointer }
        }

        func stateDict(_ result: WeightsReader.Result) -> StateDict {
            let values = zip(buffers, result.counters).map { buffer, counter in
                buffer.map(ParameterValue.floats) ?? .counter(counter)
            }
            return StateDict(
                result.architecture, networks: result.networks, values: values, classNames: result.classNames)
        }
    }
}
