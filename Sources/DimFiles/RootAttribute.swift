import CHDF5
import DimRuntime

/// A text attribute of the root: a scalar string of fixed or variable length, of at most `most` bytes. Its size is
/// checked before it is read.
struct RootAttribute {
    let name: String
    let most: Int

    init(_ name: String, most: Int) { (self.name, self.most) = (name, most) }

    /// nil where there is none, or where a problem was noted.
    func read(_ root: HDF5Object, _ file: InputFile, problems: inout Problems) -> [UInt8]? {
        let label = "attribute \"\(name)\""
        let isThere = H5Aexists(root.id, name)
        if isThere == 0 { return nil }
        guard isThere > 0, let attribute = HDF5Object(H5Aopen(root.id, name, dim_h5_default())),
            let type = HDF5Object(H5Aget_type(attribute.id)), let space = HDF5Object(H5Aget_space(attribute.id))
        else {
            problems.format("\(label): damaged (\(HDF5.lastReason))")
            return nil
        }
        let isScalar = H5Sget_simple_extent_type(space.id) == H5S_SCALAR
        guard isScalar, H5Tget_class(type.id) == H5T_STRING else {
            let found = ElementType.describe(type.id)
            problems.content("\(label): expected a scalar string, found \(isScalar ? found : "an array of \(found)")")
            return nil
        }
        do {
            let bytes =
                H5Tis_variable_str(type.id) > 0
                ? try variable(attribute, root, file) : try fixed(attribute, type)
            return Array(bytes.prefix { $0 != 0 })
        } catch let fault as Fault {
            if fault.isDamage {
                problems.format("\(label): \(fault.text)")
            } else {
                problems.content("\(label): \(fault.text)")
            }
        } catch {
            problems.format("\(label): \(error)")
        }
        return nil
    }

    private struct Fault: Error {
        let text: String
        let isDamage: Bool
    }

    private func damaged(_ how: String) -> Fault {
        Fault(text: "damaged (\(how)); use another copy of the file", isDamage: true)
    }

    private func checkSize(_ size: Int) throws {
        guard size <= most else {
            throw Fault(text: "expected at most \(most) bytes, found \(size)", isDamage: false)
        }
        try requireMemory(size)
    }

    private func fixed(_ attribute: HDF5Object, _ type: HDF5Object) throws -> [UInt8] {
        let size = H5Tget_size(type.id)
        try checkSize(size)
        let stored = H5Aget_storage_size(attribute.id)
        guard stored == size else { throw damaged("\(stored) bytes, its type has \(size)") }
        var bytes = [UInt8](repeating: 0, count: size)
        guard H5Aread(attribute.id, type.id, &bytes) >= 0 else { throw damaged(HDF5.lastReason) }
        return bytes
    }

    /// libhdf5 would allocate what the file says, and copy what another place of the file says. So the text is fetched from
    /// the file's global heap here: a collection has a head of 16 bytes ("GCOL", version, size), then objects, each with a
    /// head of 16 bytes (index, references, size) and data padded to 8.
    private func variable(_ attribute: HDF5Object, _ root: HDF5Object, _ file: InputFile) throws -> [UInt8] {
        var base: UInt64 = 0
        var stored = [UInt8](repeating: 0, count: 16)
        guard dim_h5_base_address(root.id, &base) >= 0,
            dim_h5_read_stored_string(attribute.id, &stored, stored.count) >= 0
        else { throw damaged(HDF5.lastReason) }
        let (length, address, index) = stored.withUnsafeBytes {
            (
                Int(UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: 0, as: UInt32.self))),
                UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: 4, as: UInt64.self)),
                UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: 12, as: UInt32.self))
            )
        }
        if length == 0 { return [] }
        try checkSize(length)
        let (place, overflows) = address.addingReportingOverflow(base)
        guard !overflows, place <= UInt64(max(0, file.size)), let start = Int64(exactly: place) else {
            throw damaged("its heap is at byte \(address), outside the file")
        }
        let head = try read(file, 16, at: start, before: file.size)
        let size = RootAttribute.integer(head, at: 8)
        guard head.starts(with: Array("GCOL".utf8)), head[4] == 1, size >= 16, size <= UInt64(file.size - start) else {
            throw damaged("no heap of strings at byte \(start)")
        }
        let end = start + Int64(size)
        var at = start + 16
        // Indices have 16 bits.
        for _ in 0...0xffff where end - at >= 16 {
            let object = try read(file, 16, at: at, before: end)
            let size = RootAttribute.integer(object, at: 8)
            let found = UInt32(object[0]) | UInt32(object[1]) << 8
            guard found != 0, size <= UInt64(end - at - 16) else { break }
            if found == index {
                guard size >= UInt64(length) else {
                    throw damaged("\(length) bytes, its heap has \(size)")
                }
                return try read(file, length, at: at + 16, before: end)
            }
            at += 16 + (Int64(size) + 7) / 8 * 8
        }
        throw damaged("its heap has no object \(index)")
    }

    private func read(_ file: InputFile, _ count: Int, at offset: Int64, before end: Int64) throws -> [UInt8] {
        guard offset >= 0, end >= offset, end - offset >= Int64(count) else { throw damaged("its heap is cut short") }
        var bytes = [UInt8](repeating: 0, count: count)
        let failure = readFully(file.descriptor, &bytes, count: count, at: offset)
        guard failure == 0 else { throw ioError("cannot read \(file.path)", failure) }
        return bytes
    }

    private static func integer(_ bytes: [UInt8], at offset: Int) -> UInt64 {
        bytes[offset..<offset + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
