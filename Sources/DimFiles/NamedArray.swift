import DimArchitecture
import CHDF5
import DimRuntime
import Glibc

/// An array that a checkpoint stores beside the weights.
package enum NamedArray {
    case float32(Buffer, shape: [Int])
    case float64([Double], shape: [Int])
    case int64([Int64], shape: [Int])
    case uint32([UInt32], shape: [Int])
    case text(String)
}

/// What a checkpoint is expected to store: a file's array must be of exactly this type and shape.
package struct ArraySpec {
    package enum Kind: Equatable {
        /// Values must be finite.
        case float32, float64
        case int64, uint32
        /// UTF-8 without NUL, of at most so many bytes.
        case text(most: Int)
    }

    package let name: String
    package let kind: Kind
    /// Empty for text.
    package let shape: [Int]

    package init(_ name: String, _ kind: Kind, _ shape: [Int] = []) {
        self.name = name
        self.kind = kind
        self.shape = shape
    }

    var count: Int { shape.reduce(1, *) }

    var text: String {
        switch kind {
        case .float32: "float32 \(describe(shape: shape))"
        case .float64: "float64 \(describe(shape: shape))"
        case .int64: "int64 \(describe(shape: shape))"
        case .uint32: "uint32 \(describe(shape: shape))"
        case .text(let most): "a string of fixed length, of at most \(most) bytes"
        }
    }
}

/// What a checkpoint of one kind holds beside the weights.
package struct CheckpointArrays {
    package typealias Others =
        (_ architecture: Architecture, _ networks: [Network], _ header: [String: NamedArray]) throws -> [ArraySpec]

    /// What has to be known before the rest can be named.
    package let header: [ArraySpec]
    /// What else has to be, for the header found; throws where that does not do.
    package let details: (_ header: [String: NamedArray]) throws -> [ArraySpec]
    /// The rest, for the networks, the header and the details found; throws where these do not do.
    package let others: Others

    package init(
        header: [ArraySpec], details: @escaping (_ header: [String: NamedArray]) throws -> [ArraySpec] = { _ in [] },
        others: @escaping Others
    ) {
        self.header = header
        self.details = details
        self.others = others
    }
}

extension ArraySpec.Kind {
    /// nil for text.
    var elementType: ElementType? {
        switch self {
        case .float32: .float32
        case .float64: .float64
        case .int64: .int64
        case .uint32: .uint32
        case .text: nil
        }
    }
}

extension NamedArray {
    /// Type and shape have been compared with `spec`. nil where a problem was noted.
    static func read(
        _ array: StoredArray, _ spec: ArraySpec, with reader: ArrayReader, problems: inout Problems
    ) throws -> NamedArray? {
        switch spec.kind {
        case .float32:
            let buffer = try Buffer(uninitialized: spec.count)
            var isFinite = true
            try reader.read(array) { first, data, count in
                isFinite = Conversion.floats(.float32, data, into: buffer.pointer + first, count: count) && isFinite
            }
            if !isFinite { problems.content("checkpoint/\(spec.name): holds values that are NaN or infinite") }
            return .float32(buffer, shape: spec.shape)
        case .float64:
            let values = try elements(array, zero: 0.0, with: reader)
            if !values.allSatisfy(\.isFinite) {
                problems.content("checkpoint/\(spec.name): holds values that are NaN or infinite")
            }
            return .float64(values, shape: spec.shape)
        case .int64: return try .int64(elements(array, zero: 0, with: reader), shape: spec.shape)
        case .uint32: return try .uint32(elements(array, zero: 0, with: reader), shape: spec.shape)
        case .text: return nil
        }
    }

    private static func elements<Element: BitwiseCopyable>(
        _ array: StoredArray, zero: Element, with reader: ArrayReader
    ) throws -> [Element] {
        var values = [Element](repeating: zero, count: array.count)
        try values.withUnsafeMutableBytes { target in
            let size = MemoryLayout<Element>.size
            try reader.read(array) { first, data, count in
                memcpy(target.baseAddress! + first * size, data, count * size)
            }
        }
        return values
    }
}

/// Strings: scalar datasets of a fixed length, padded with NUL.
enum TextArray {
    /// A compact dataset, and its header with it, ends at 64 KB.
    static let most = 32 * 1024

    /// nil where a problem was noted.
    static func read(_ found: Description, most: Int, problems: inout Problems) -> String? {
        let name = "checkpoint/\(found.name)"
        let type = HDF5Object(H5Dget_type(found.entry.object.id))
        let isFixed = type.map { H5Tget_class($0.id) == H5T_STRING && H5Tis_variable_str($0.id) == 0 } ?? false
        guard let type, isFixed, found.shape == [], H5Tget_size(type.id) <= min(most, TextArray.most) + 1 else {
            let length = isFixed ? " of \(H5Tget_size(type!.id)) bytes" : ""
            problems.content(
                "\(name): found \(found.typeText) \(found.shapeText)\(length), expected a string of fixed length, of at most "
                    + "\(most) bytes")
            return nil
        }
        let size = H5Tget_size(type.id)
        guard let creation = HDF5Object(H5Dget_create_plist(found.entry.object.id)),
            H5Pget_layout(creation.id) == H5D_COMPACT, H5Dget_storage_size(found.entry.object.id) == size
        else {
            problems.format("\(name): a string must be stored compact")
            return nil
        }
        var bytes = [UInt8](repeating: 0, count: size + 1)
        let all = dim_h5_whole_space()
        guard H5Dread(found.entry.object.id, type.id, all, all, dim_h5_default(), &bytes) >= 0 else {
            problems.format("\(name): damaged (\(HDF5.lastReason))")
            return nil
        }
        guard let text = String(validating: bytes.prefix { $0 != 0 }, as: UTF8.self) else {
            problems.content("\(name): not UTF-8")
            return nil
        }
        return text
    }
}
