import CDim
import DimArchitecture
import DimRuntime

/// The object of a `dim_architecture` handle. Immutable.
final class ArchitectureBox {
    let architecture: Architecture

    init(_ architecture: Architecture) { self.architecture = architecture }
}

/// The architecture of a handle.
func architecture(_ handle: OpaquePointer?, _ name: String = "architecture") throws -> Architecture {
    let box: ArchitectureBox = try HandleTable.object(handle, name)
    return box.architecture
}

/// Writes a text and its NUL to the caller's array. needed may be NULL, and so may out if capacity is 0.
func write(
    _ text: String, _ name: String, to out: UnsafeMutablePointer<CChar>?, capacity: Int,
    needed: UnsafeMutablePointer<Int>?
) throws {
    let size = text.utf8.count + 1
    // A size_t past Int.max arrives negative: it is no array's size, but it is large enough.
    let isEnough = capacity < 0 || capacity >= size
    if out == nil && capacity != 0 { throw DimError(.invalidArgument, "out is NULL, but capacity is not 0") }
    needed?.pointee = size
    guard let out, isEnough else {
        throw DimError(
            .sizeMismatch,
            "\(name) needs \(size) bytes with its NUL, found a capacity of \(capacity); nothing was written")
    }
    var bytes = text
    bytes.withUTF8 { utf8 in
        for (index, byte) in utf8.enumerated() { out[index] = CChar(bitPattern: byte) }
    }
    out[size - 1] = 0
}

@_cdecl("dim_architecture_preset") @implementation
public func dim_architecture_preset(
    _ name: UnsafePointer<CChar>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> dim_status {
    fallible {
        let name = try string(name, "name")
        let out = try nonNull(out, "out")
        guard let preset = Architecture.preset(name) else {
            let known = Architecture.presetNames.joined(separator: ", ")
            throw DimError(.unknownName, "no preset of that name; expected one of \(known), found \(quoted(name))")
        }
        out.pointee = HandleTable.make(ArchitectureBox(preset))
    }
}

private let presetNames = Architecture.presetNames.map(StaticText.init)

@_cdecl("dim_architecture_preset_name") @implementation
public func dim_architecture_preset_name(_ index: Int) -> UnsafePointer<CChar>! {
    presetNames.indices.contains(index) ? presetNames[index].pointer : nil
}

@_cdecl("dim_architecture_parse") @implementation
public func dim_architecture_parse(
    _ json: UnsafePointer<CChar>!, _ bytes: Int, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> dim_status {
    fallible {
        let json = try nonNull(json, "json")
        let out = try nonNull(out, "out")
        guard bytes >= 0, bytes <= Limits.bytes else {
            throw DimError(
                .tooLarge, "bytes is \(UInt(bitPattern: bytes)); a description has at most \(Limits.bytes)")
        }
        let text = UnsafeBufferPointer(start: json, count: bytes).map(UInt8.init(bitPattern:))
        do {
            out.pointee = HandleTable.make(ArchitectureBox(try Architecture.parse(text)))
        } catch let error as ArchitectureError {
            throw DimError(.invalidArgument, error.description)
        }
    }
}

@_cdecl("dim_architecture_json") @implementation
public func dim_architecture_json(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>!
) -> dim_status {
    fallible {
        try write(try architecture(handle).json, "the description", to: out, capacity: capacity, needed: needed)
    }
}

@_cdecl("dim_architecture_summary") @implementation
public func dim_architecture_summary(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>!
) -> dim_status {
    fallible {
        try write(try architecture(handle).summary.json, "the summary", to: out, capacity: capacity, needed: needed)
    }
}

@_cdecl("dim_architecture_free") @implementation
public func dim_architecture_free(_ handle: OpaquePointer!) {
    HandleTable.free(handle, as: ArchitectureBox.self)
}
