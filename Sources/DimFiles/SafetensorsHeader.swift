import DimArchitecture
import DimRuntime

/// The header of a safetensors file. The file is 8 bytes with the header's length, little-endian; the header, JSON; the
/// data. For each tensor the header has type, shape and place; `__metadata__` has texts. docs/safetensors.md says what
/// is accepted.
///
/// All values have been checked: every tensor's bytes lie inside the file, are as many as its type and shape require,
/// and do not overlap another's.
struct SafetensorsHeader {
    struct Tensor {
        let name: String
        /// nil for one whose size is not known here.
        let type: SafetensorsType?
        let typeText: String
        let shape: [Int]
        /// In the file.
        let offset: Int64
        let bytes: Int
    }

    /// The tensors of the largest architecture take 30 KB, names of classes may take more. The parsed text takes up to 20
    /// times as much memory for a moment.
    static let mostBytes = 4 << 20
    /// As many names as an HDF5 file may have.
    static let mostTensors = 10_000
    private static let mostAxes = 32
    /// The header's object, a tensor's, its shape.
    private static let limits = JSON.Limits(bytes: mostBytes, depth: 3)
    static let metadataKey = "__metadata__"

    let tensors: [Tensor]
    let metadata: [String: String]

    /// From the first bytes: a count below 2^56, then the header's brace. No HDF5 file begins like that.
    static func isLikely(_ input: InputFile) -> Bool {
        var head = [UInt8](repeating: 0, count: 9)
        guard input.size >= 9, readFully(input.descriptor, &head, count: 9, at: 0) == 0 else { return false }
        return head[8] == UInt8(ascii: "{") && head[7] == 0
    }

    init(_ input: InputFile) throws {
        let path = input.path
        func damaged(_ why: String) -> DimError {
            DimError(.fileFormat, "\(path): a damaged safetensors file: \(why); use another copy of the file")
        }
        func read(_ count: Int, at offset: Int64) throws -> [UInt8] {
            try requireMemory(count)
            var bytes = [UInt8](repeating: 0, count: count)
            let failure = readFully(input.descriptor, &bytes, count: count, at: offset)
            guard failure == 0 else { throw ioError("cannot read \(path)", failure) }
            return bytes
        }
        guard input.size >= 8 else { throw damaged("expected 8 bytes and a header, found \(input.size)") }
        let length = try read(8, at: 0).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(input.size - 8) else {
            throw damaged("its header should be \(length) bytes long, and \(input.size - 8) follow")
        }
        guard length <= UInt64(SafetensorsHeader.mostBytes) else {
            throw DimError(
                .fileFormat,
                "\(path): expected a safetensors header of at most \(SafetensorsHeader.mostBytes) bytes, found \(length); "
                    + "save the state_dict without metadata")
        }
        let text = try read(Int(length), at: 8)
        let json: JSON
        do {
            json = try JSON.parse(text, limits: SafetensorsHeader.limits)
        } catch let failure as JSON.Failure {
            throw damaged("its header, \(printable(failure.description, most: 300))")
        }
        guard case .object(let members) = json.value else {
            throw damaged("its header is \(json.found(in: text)), no JSON object")
        }
        guard members.count <= SafetensorsHeader.mostTensors + 1 else {
            throw DimError(
                .fileFormat, "\(path): more than \(SafetensorsHeader.mostTensors) tensors; this is not a weights file")
        }

        var problems = Problems()
        var tensors: [Tensor] = []
        var metadata: [String: String] = [:]
        let data = Int64(length) + 8
        for (name, value) in members {
            if name.knownName == SafetensorsHeader.metadataKey {
                metadata = SafetensorsHeader.texts(value, text, problems: &problems)
            } else if let tensor = SafetensorsHeader.tensor(
                name, value, text, data: data, end: input.size, &problems)
            {
                tensors.append(tensor)
            }
        }
        try problems.throwIfAny(path: path)
        SafetensorsHeader.checkPlaces(tensors, data: data, end: input.size, problems: &problems)
        try problems.throwIfAny(path: path)
        self.tensors = tensors
        self.metadata = metadata
    }

    private static func texts(_ value: JSON, _ header: [UInt8], problems: inout Problems) -> [String: String] {
        guard case .object(let members) = value.value else {
            problems.format("\(metadataKey): expected an object of strings, found \(value.found(in: header))")
            return [:]
        }
        var texts: [String: String] = [:]
        for (key, value) in members {
            if case .string(let text) = value.value {
                texts[key.knownName] = text
            } else {
                problems.format("\(metadataKey).\(printable(key)): expected a string, found \(value.found(in: header))")
            }
        }
        return texts
    }

    /// nil where a problem was noted.
    private static func tensor(
        _ name: String, _ value: JSON, _ header: [UInt8], data: Int64, end: Int64, _ problems: inout Problems
    ) -> Tensor? {
        let label = printable(name)
        guard case .object(let members) = value.value else {
            problems.format(
                "\(label): expected an object of dtype, shape and data_offsets, found \(value.found(in: header))")
            return nil
        }
        let values = Dictionary(members.prefix(4).map { ($0.key.knownName, $0.value) }) { first, _ in first }
        guard members.count == 3, let dtype = values["dtype"], let sizes = values["shape"],
            let offsets = values["data_offsets"]
        else {
            let keys = members.prefix(4).map { quoted($0.key) } + (members.count > 4 ? ["..."] : [])
            problems.format(
                "\(label): expected an object of dtype, shape and data_offsets, found "
                    + (keys.isEmpty ? "an empty one" : "one of " + keys.joined(separator: ", ")))
            return nil
        }
        func found(_ json: JSON) -> String {
            let text = String(decoding: header[json.range].prefix(60), as: UTF8.self)
            return printable(json.range.count > 60 ? text + "..." : text)
        }
        guard case .string(let typeText) = dtype.value else {
            problems.format("\(label): expected a string as dtype, found \(found(dtype))")
            return nil
        }
        guard let shape = numbers(sizes), shape.count <= mostAxes else {
            problems.format(
                "\(label): expected up to \(mostAxes) whole numbers of 0 and more as shape, found \(found(sizes))")
            return nil
        }
        guard let places = numbers(offsets), places.count == 2, places[0] <= places[1] else {
            problems.format(
                "\(label): expected two data_offsets, whole numbers of 0 and more, in order, found \(found(offsets))")
            return nil
        }
        guard Int64(places[1]) <= end - data else {
            problems.format(
                "\(label): its data_offsets end at \(places[1]), and the file has \(end - data) bytes of data: cut off, "
                    + "or damaged")
            return nil
        }
        let bytes = places[1] - places[0]
        let type = SafetensorsType(rawValue: typeText.knownName)
        let text = type?.name ?? printable(typeText, most: 20)
        if let type {
            var product = (partialValue: type.size, overflow: false)
            // A size of 0 makes the product 0, whatever the others are.
            for size in shape.contains(0) ? [0] : shape {
                product = product.partialValue.multipliedReportingOverflow(by: size)
                if product.overflow { break }
            }
            guard !product.overflow, product.partialValue == bytes else {
                problems.format(
                    "\(label): \(bytes) bytes, expected \(product.overflow ? "more than there are" : "\(product.partialValue)") "
                        + "for \(text) \(describe(shape: shape))")
                return nil
            }
        }
        return Tensor(
            name: name, type: type, typeText: text, shape: shape, offset: data + Int64(places[0]), bytes: bytes)
    }

    /// Of an array of whole numbers of 0 and more; nil of all else.
    private static func numbers(_ json: JSON) -> [Int]? {
        guard case .array(let list) = json.value else { return nil }
        var numbers: [Int] = []
        for element in list {
            guard case .integer(let number) = element.value, number >= 0 else { return nil }
            numbers.append(number)
        }
        return numbers
    }

    /// The data is the tensors', one behind the other, and nothing else.
    private static func checkPlaces(_ tensors: [Tensor], data: Int64, end: Int64, problems: inout Problems) {
        var next = data
        for tensor in tensors.sorted(by: { ($0.offset, $0.bytes) < ($1.offset, $1.bytes) }) {
            if tensor.offset != next {
                problems.format(
                    "\(printable(tensor.name)): its data begins at \(tensor.offset - data), "
                        + (tensor.offset < next ? "inside another tensor's" : "behind a hole from \(next - data) on"))
            }
            next = max(next, tensor.offset + Int64(tensor.bytes))
        }
        if next != end {
            let bytes = end - next == 1 ? "1 byte at the end belongs" : "\(end - next) bytes at the end belong"
            problems.format("\(bytes) to no tensor: cut off, or more was appended")
        }
    }
}

/// The types that the format has, as far as an element takes whole bytes.
enum SafetensorsType: String {
    case float64 = "F64"
    case float32 = "F32"
    case float16 = "F16"
    case bfloat16 = "BF16"
    case int64 = "I64"
    case int32 = "I32"
    case int16 = "I16"
    case int8 = "I8"
    case uint64 = "U64"
    case uint32 = "U32"
    case uint16 = "U16"
    case uint8 = "U8"
    case bool = "BOOL"
    case float8e5m2 = "F8_E5M2"
    case float8e4m3 = "F8_E4M3"
    case complex64 = "C64"

    var size: Int {
        switch self {
        case .float64, .int64, .uint64, .complex64: 8
        case .float32, .int32, .uint32: 4
        case .float16, .bfloat16, .int16, .uint16: 2
        case .int8, .uint8, .bool, .float8e5m2, .float8e4m3: 1
        }
    }

    /// As numpy and PyTorch call it, for messages.
    var name: String { "\(self)" }
}
