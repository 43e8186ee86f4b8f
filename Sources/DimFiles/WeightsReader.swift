import DimArchitecture
import CHDF5
import DimRuntime

/// Reads an open file into memory of the caller, which may be shared with another process. The order is: the file's
/// structure, types and shapes compared with the architecture, allocation, data.
package struct WeightsReader {
    /// Asked once, when all names, types and shapes are right: where to put each parameter. nil for counters.
    package typealias Place = (_ networks: [Network], [ParameterSpec]) throws -> [UnsafeMutablePointer<Float>?]

    package struct Result {
        package let architecture: Architecture
        package let networks: [Network]
        /// In the order of the architecture's parameters; 0 for those that are not counters.
        package let counters: [Int64]
        /// Of the classifier's classes; empty where the file names none.
        package let classNames: [String]
    }

    private let input: InputFile
    private let reader: ArrayReader

    private init(_ input: InputFile) {
        self.input = input
        reader = ArrayReader(file: input)
    }

    /// Reads weights alone; a checkpoint's other data is not looked at.
    package static func read(_ input: InputFile, _ expected: Expectation, place: Place) throws -> Result {
        if SafetensorsHeader.isLikely(input) {
            var reader = try SafetensorsReader(input)
            return try reader.readWeights(path: input.path, expected, place: place)
        }
        return try WeightsReader(input).withFile { file, reader in
            var source = try reader.arrays(of: file).0
            return try source.readWeights(path: input.path, expected, place: place)
        }
    }

    /// The architecture of the file's weights and the networks that it holds; no value is read.
    package static func describe(_ input: InputFile, _ expected: Expectation) throws -> (Architecture, [Network]) {
        func found(_ source: some ArraySource) throws -> (Architecture, [Network]) {
            var source = source
            let (architecture, matching, _, problems) = try source.resolve(path: input.path, expected)
            try problems.throwIfAny(path: input.path)
            return (architecture, matching.networks)
        }
        if SafetensorsHeader.isLikely(input) { return try found(SafetensorsReader(input)) }
        return try WeightsReader(input).withFile { file, reader in try found(reader.arrays(of: file).0) }
    }

    private func arrays(of file: HDF5Object) throws -> (StoredArrays, Catalog) {
        var problems = Problems()
        let catalog = Catalog(file: file, problems: &problems)
        try problems.throwIfAny(path: input.path)
        return (StoredArrays(catalog, reader), catalog)
    }

    /// Reads weights and the arrays of the checkpoint's group: exactly those that `arrays` names for the networks found.
    package static func readCheckpoint(
        _ input: InputFile, _ expected: Expectation, _ checkpoint: CheckpointArrays, place: Place
    ) throws -> (Result, [String: NamedArray]) {
        guard !SafetensorsHeader.isLikely(input) else {
            throw DimError(
                .fileContent,
                "\(input.path): no checkpoint: expected an HDF5 file that a trainer saved, found safetensors, which holds "
                    + "weights alone; open it as a model")
        }
        return try WeightsReader(input).withFile { file, reader in
            var (source, catalog) = try reader.arrays(of: file)
            guard let group = catalog.checkpoint else {
                throw DimError(
                    .fileContent,
                    "\(input.path): no checkpoint: it has no group /\(Catalog.checkpointGroup), "
                        + "which a trainer's save makes; its weights alone can be opened as a model")
            }
            var specs = checkpoint.header
            specs += try checkpoint.details(reader.readArrays(group, specs: specs, amongOthers: true))
            let first = try reader.readArrays(group, specs: specs, amongOthers: true)
            let result = try source.readWeights(path: input.path, expected, place: place)
            specs += try checkpoint.others(result.architecture, result.networks, first)
            return (result, try reader.readArrays(group, specs: specs))
        }
    }

    private func withFile<Value>(_ body: (HDF5Object, WeightsReader) throws -> Value) throws -> Value {
        try HDF5.exclusively {
            guard let driver = FileDriver(descriptor: input.descriptor, size: input.size) else {
                throw DimError(.internal, "libhdf5 refuses the file driver: \(HDF5.lastReason)")
            }
            // The file's callbacks use the driver until its last handle is closed.
            return try withExtendedLifetime(driver) {
                do {
                    return try body(open(driver), self)
                } catch {
                    // What looks like damage may be a disk that does not answer.
                    guard driver.failure == 0 else { throw ioError("cannot read \(input.path)", driver.failure) }
                    // Where there is room, the file has asked for more than there is in any machine.
                    if HDF5.lackedMemory, (try? HDF5.requireRoom()) == nil {
                        throw DimError(
                            .outOfMemory, "out of memory: libhdf5 cannot allocate what it needs to read \(input.path)")
                    }
                    throw error
                }
            }
        }
    }

    private func open(_ driver: FileDriver) throws -> HDF5Object {
        // The driver opens no path. Of a relative one libhdf5 would make a full one: the isolated reader has no folder.
        if let file = HDF5Object(H5Fopen("/weights", dim_h5_read_only(), driver.access.id)) { return file }
        throw notOpened(HDF5.lastReason + newerVersionAdvice())
    }

    private func notOpened(_ reason: String) -> DimError {
        let expected = "\(input.path)".lowercased().hasSuffix(".safetensors") ? "neither a safetensors nor" : "not"
        if let guess = input.foreignFormat() {
            return DimError(.fileFormat, "\(input.path) is \(expected) an HDF5 file: \(guess)")
        }
        if reason.mentions("truncated") {
            return DimError(.fileFormat, "\(input.path) is cut short (\(reason)); use another copy of the file")
        }
        return DimError(.fileFormat, "\(input.path) is \(expected) an HDF5 file, or it is damaged (\(reason))")
    }

    // MARK: A checkpoint's arrays

    /// Exactly the arrays of `specs`; with `amongOthers`, at least these.
    private func readArrays(
        _ group: HDF5Object, specs: [ArraySpec], amongOthers: Bool = false
    ) throws -> [String: NamedArray] {
        var problems = Problems()
        let catalog = Catalog(group: group, problems: &problems)
        try problems.throwIfAny(path: input.path)
        let found = catalog.entries.map(Description.init)
        var arrays: [(ArraySpec, StoredArray)] = []
        var texts: [String: NamedArray] = [:]
        for spec in specs {
            guard let description = found.first(where: { $0.entry.name.knownName == spec.name }) else {
                problems.content("checkpoint/\(spec.name): missing; expected \(spec.text)")
                continue
            }
            if case .text(let most) = spec.kind {
                texts[spec.name] = TextArray.read(description, most: most, problems: &problems).map(NamedArray.text)
            } else if description.shape != spec.shape || description.type != spec.kind.elementType {
                problems.content(
                    "checkpoint/\(spec.name): found \(description.typeText) \(description.shapeText), "
                        + "expected \(spec.text)")
            } else if let array = description.stored(problems: &problems) {
                arrays.append((spec, array))
            }
        }
        let known = Set(specs.map(\.name))
        for other in found where !amongOthers && !known.contains(other.entry.name.knownName) {
            problems.content("checkpoint/\(other.name): found \(other.typeText) \(other.shapeText), expected nothing")
        }
        try problems.throwIfAny(path: input.path)

        var result = texts
        for (spec, array) in arrays {
            result[spec.name] = try NamedArray.read(array, spec, with: reader, problems: &problems)
        }
        try problems.throwIfAny(path: input.path)
        return result
    }
}
