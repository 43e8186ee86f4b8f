import DimArchitecture
import DimRuntime
import Glibc

/// Writes weights as safetensors: the same bytes for the same weights. No checksums: the format has none.
enum SafetensorsWriter {
    /// Writes to an open, empty file. `metadata` goes into the header beside the format's own `format: pt`.
    static func write(
        _ state: StateDict, metadata: [String: String], to descriptor: Int32, path: FilePath
    ) throws {
        // Integers first, as the format's own library has it: every element is at a multiple of its size.
        let order = state.specs.indices.sorted { a, b in
            let (first, second) = (state.specs[a].isInteger, state.specs[b].isInteger)
            return first == second ? a < b : first
        }
        let head = try header(state, order, metadata, path: path)
        var offset: Int64 = 0
        func append(_ data: UnsafeRawPointer, _ count: Int) throws {
            let failure = writeFully(descriptor, data, count: count, at: offset)
            guard failure == 0 else { throw ioError("cannot write \(path)", failure) }
            offset += Int64(count)
        }
        try head.withUnsafeBytes { try append($0.baseAddress!, $0.count) }
        for index in order {
            // A file that could not be opened again must not replace one that can.
            if let fault = ParameterRules.fault(state.specs[index], state.values[index]) {
                throw DimError(.notFinite, "cannot save to \(path): \(fault)")
            }
            switch state.values[index] {
            case .floats(let buffer):
                try append(buffer.pointer, 4 * buffer.count)
            case .counter(let count):
                try withUnsafeBytes(of: count.littleEndian) { try append($0.baseAddress!, $0.count) }
            }
        }
    }

    /// The count of the header's bytes and the header, padded with spaces so that the data begins at a multiple of 8.
    private static func header(
        _ state: StateDict, _ order: [Int], _ metadata: [String: String], path: FilePath
    ) throws -> [UInt8] {
        var text = "{" + quoted(SafetensorsHeader.metadataKey) + ":{\"format\":\"pt\""
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) { text += ",\(quoted(key)):\(quoted(value))" }
        text += "}"
        var offset = 0
        for index in order {
            let spec = state.specs[index]
            let shape = spec.shape.map(String.init).joined(separator: ",")
            text += ",\(quoted(spec.name)):{\"dtype\":\"\(spec.isInteger ? "I64" : "F32")\",\"shape\":[\(shape)],"
            text += "\"data_offsets\":[\(offset),\(offset + spec.bytes)]}"
            offset += spec.bytes
        }
        text += "}"
        var bytes = Array(text.utf8)
        while bytes.count % 8 != 0 { bytes.append(UInt8(ascii: " ")) }
        guard bytes.count <= SafetensorsHeader.mostBytes else {
            throw DimError(
                .tooLarge,
                "cannot save to \(path): a safetensors header of \(bytes.count) bytes, of which at most "
                    + "\(SafetensorsHeader.mostBytes) are read; save as HDF5, or with shorter names of classes")
        }
        return (0..<8).map { UInt8(truncatingIfNeeded: bytes.count >> (8 * $0)) } + bytes
    }

    /// A JSON string.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\" + String(scalar)
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
