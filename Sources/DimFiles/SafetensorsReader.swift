import DimArchitecture
import DimRuntime

/// The tensors of a safetensors file. Nothing of libhdf5 is used.
struct SafetensorsReader: ArraySource {
    /// Bytes that are read at once: a part of the L2 cache.
    private static let pieceBytes = 256 * 1024

    let candidates: [KeyMatching.Candidate]
    private let header: SafetensorsHeader
    private let input: InputFile
    private var scratch = ByteBuffer()

    var adviceWhereNothingIsFound: String? { nil }
    var metadata: [String: String] { header.metadata }

    init(_ input: InputFile) throws {
        self.input = input
        header = try SafetensorsHeader(input)
        candidates = header.tensors.map {
            KeyMatching.Candidate(name: $0.name, shape: $0.shape, text: "\($0.typeText) \(describe(shape: $0.shape))")
        }
    }

    func labels(problems: inout Problems) -> FileLabels {
        FileLabels(
            architecture: metadata[FileLabels.architecture].map { Array($0.utf8) },
            classNames: metadata[FileLabels.classNames].map { Array($0.utf8) }, "metadata", problems: &problems)
    }

    mutating func accept(_ index: Int, as spec: ParameterSpec, problems: inout Problems) -> Bool {
        let tensor = header.tensors[index]
        let accepted: [SafetensorsType] =
            spec.isInteger ? [.int64, .int32] : [.float32, .float64, .float16, .bfloat16]
        if let type = tensor.type, accepted.contains(type) { return true }
        let expected = spec.isInteger ? "int64 ()" : "float32 \(describe(shape: spec.shape)); save .float()"
        problems.content("\(spec.name): found \(candidates[index].text), expected \(expected)")
        return false
    }

    mutating func readFloats(_ index: Int, into target: UnsafeMutablePointer<Float>) throws -> Bool {
        var isFinite = true
        try read(header.tensors[index]) { type, first, data, count in
            isFinite = SafetensorsReader.floats(type, data, into: target + first, count: count) && isFinite
        }
        return isFinite
    }

    mutating func readInteger(_ index: Int) throws -> Int64 {
        var value: Int64 = -1
        try read(header.tensors[index]) { type, _, data, _ in
            value = Conversion.integer(type == .int32 ? .int32 : .int64, data) ?? -1
        }
        return value
    }

    /// Shows the whole tensor, piece after piece: the elements from `first` on.
    private mutating func read(
        _ tensor: SafetensorsHeader.Tensor,
        piece: (_ type: SafetensorsType, _ first: Int, _ data: UnsafeRawPointer, _ count: Int) -> Void
    ) throws {
        guard let type = tensor.type else { throw DimError(.internal, "a tensor was read before it was accepted") }
        let count = tensor.bytes / type.size
        let step = SafetensorsReader.pieceBytes / type.size
        let memory = try scratch.reserve(min(step, count) * type.size)
        var first = 0
        while first < count {
            let now = min(step, count - first)
            let at = tensor.offset + Int64(first * type.size)
            let failure = readFully(input.descriptor, memory, count: now * type.size, at: at)
            guard failure == 0 else { throw ioError("cannot read \(input.path) (\(printable(tensor.name)))", failure) }
            piece(type, first, memory, now)
            first += now
        }
    }

    private static func floats(
        _ type: SafetensorsType, _ source: UnsafeRawPointer, into target: UnsafeMutablePointer<Float>, count: Int
    ) -> Bool {
        switch type {
        case .float32: return Conversion.floats(.float32, source, into: target, count: count)
        case .float64: return Conversion.floats(.float64, source, into: target, count: count)
        case .float16: return Conversion.floats(.float16, source, into: target, count: count)
        case .bfloat16:
            // The upper half of a float32.
            for i in 0..<count {
                let bits = UInt16(littleEndian: source.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self))
                target[i] = Float(bitPattern: UInt32(bits) << 16)
            }
            return Conversion.areFinite(target, count: count)
        default: return false
        }
    }
}
