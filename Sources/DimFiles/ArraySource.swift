import DimArchitecture
import DimRuntime

/// The named arrays of an open file of either format, as needed to match names and read values. An array is identified
/// by its index among the candidates.
protocol ArraySource {
    /// Names, types and shapes. No value has been read.
    var candidates: [KeyMatching.Candidate] { get }
    /// For a file without weights: where its author may have put them. nil where there is nothing to say.
    var adviceWhereNothingIsFound: String? { get }

    /// What the file says of itself.
    mutating func labels(problems: inout Problems) -> FileLabels
    /// Whether an array, of the parameter's shape, can be read as the parameter's type; else a problem is noted.
    mutating func accept(_ index: Int, as spec: ParameterSpec, problems: inout Problems) -> Bool
    /// The values as float32; false where one is NaN, infinite or too large.
    mutating func readFloats(_ index: Int, into target: UnsafeMutablePointer<Float>) throws -> Bool
    mutating func readInteger(_ index: Int) throws -> Int64
}

extension ArraySource {
    /// In this order: names and shapes, then types, then memory, then values. All that is wrong is reported at once.
    mutating func readWeights(
        path: FilePath, _ expected: Expectation, place: WeightsReader.Place
    ) throws -> WeightsReader.Result {
        var (architecture, matching, names, problems) = try resolve(path: path, expected)
        let candidates = candidates
        let specs = matching.specs
        var arrays: [Int?] = []
        for (spec, index) in zip(specs, matching.assignment) {
            // A wrong shape has been reported already; no storage is looked at before the shape is right.
            guard let index, let shape = candidates[index].shape, shape == spec.shape || spec.isInteger && shape == [1]
            else {
                arrays.append(nil)
                continue
            }
            arrays.append(accept(index, as: spec, problems: &problems) ? index : nil)
        }
        try problems.throwIfAny(path: path)

        let places = try place(matching.networks, specs)
        var counters = [Int64](repeating: 0, count: specs.count)
        for (i, spec) in specs.enumerated() {
            guard let array = arrays[i] else { continue }
            if let floats = places[i] {
                let isFinite = try readFloats(array, into: floats)
                check(floats, spec, isFinite, problems: &problems)
            } else {
                counters[i] = try readInteger(array)
                if let fault = ParameterRules.fault(spec, counters[i]) { problems.content(fault) }
            }
        }
        try problems.throwIfAny(path: path)
        return WeightsReader.Result(
            architecture: architecture, networks: matching.networks, counters: counters, classNames: names)
    }

    /// Which architecture the file's arrays are of, which array is which parameter, the names of the classes, and what is
    /// wrong with those. No value has been read.
    mutating func resolve(
        path: FilePath, _ expected: Expectation
    ) throws -> (Architecture, KeyMatching, classNames: [String], Problems) {
        var problems = Problems()
        let labels = labels(problems: &problems)
        try problems.throwIfAny(path: path)
        let (architecture, matching) = try expected.resolve(
            labels, candidates, advice: adviceWhereNothingIsFound, path: path)
        let names = labels.names(for: architecture, matching.networks, problems: &problems)
        return (architecture, matching, names, problems)
    }

    private func check(
        _ values: UnsafePointer<Float>, _ spec: ParameterSpec, _ isFinite: Bool, problems: inout Problems
    ) {
        if !isFinite {
            let bad = UnsafeBufferPointer(start: values, count: spec.count).lazy.filter { !$0.isFinite }.count
            problems.content("\(spec.name): \(bad) of \(spec.count) values are NaN, infinite or too large for float32")
        } else if let fault = ParameterRules.fault(spec, values) {
            problems.content(fault)
        }
    }
}

/// The datasets of an HDF5 file.
struct StoredArrays: ArraySource {
    let candidates: [KeyMatching.Candidate]
    let adviceWhereNothingIsFound: String?
    private let found: [Description]
    private let root: HDF5Object?
    private let reader: ArrayReader
    /// Those that were accepted.
    private var arrays: [Int: StoredArray] = [:]

    init(_ catalog: Catalog, _ reader: ArrayReader) {
        found = catalog.entries.map(Description.init)
        candidates = found.map {
            KeyMatching.Candidate(name: $0.entry.name, shape: $0.shape, text: "\($0.typeText) \($0.shapeText)")
        }
        adviceWhereNothingIsFound =
            catalog.attributes > 0
            ? "the file has attributes: weights in attributes are not read, save them as datasets" : nil
        root = catalog.root
        self.reader = reader
    }

    mutating func labels(problems: inout Problems) -> FileLabels {
        func text(_ name: String, _ most: Int) -> [UInt8]? {
            root.flatMap { RootAttribute(name, most: most).read($0, reader.file, problems: &problems) }
        }
        return FileLabels(
            architecture: text(FileLabels.architecture, Limits.bytes),
            classNames: text(FileLabels.classNames, FileLabels.mostNames), "attribute", problems: &problems)
    }

    mutating func accept(_ index: Int, as spec: ParameterSpec, problems: inout Problems) -> Bool {
        let found = found[index]
        if spec.isInteger {
            guard let type = found.type, [.int32, .int32Big, .int64, .int64Big].contains(type) else {
                problems.content("\(spec.name): found \(found.typeText) \(found.shapeText), expected int64 ()")
                return false
            }
        } else {
            guard let type = found.type, type.isFloat else {
                let isBrain = ["int16", "uint16", "bfloat16"].contains { found.typeText.hasPrefix($0) }
                let advice = isBrain ? "; bfloat16? Save .float().numpy() instead" : "; save .float().numpy()"
                problems.content(
                    "\(spec.name): found \(found.typeText) \(found.shapeText), "
                        + "expected float32 \(describe(shape: spec.shape))\(advice)")
                return false
            }
        }
        arrays[index] = found.stored(problems: &problems)
        return arrays[index] != nil
    }

    mutating func readFloats(_ index: Int, into target: UnsafeMutablePointer<Float>) throws -> Bool {
        let array = try accepted(index)
        var isFinite = true
        try reader.read(array) { first, data, count in
            isFinite = Conversion.floats(array.type, data, into: target + first, count: count) && isFinite
        }
        return isFinite
    }

    mutating func readInteger(_ index: Int) throws -> Int64 {
        let array = try accepted(index)
        var value: Int64 = -1
        try reader.read(array) { _, data, _ in value = Conversion.integer(array.type, data) ?? -1 }
        return value
    }

    private func accepted(_ index: Int) throws -> StoredArray {
        guard let array = arrays[index] else { throw DimError(.internal, "an array was read before it was accepted") }
        return array
    }
}
